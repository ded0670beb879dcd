package collect

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/verify"
)

func readFirewall(a answers, s *verify.Server) error {
	ruleset, err := a.ok("firewall-ruleset")
	if err != nil {
		return err
	}
	boot, err := a.ok("firewall-boot")
	if err != nil {
		return err
	}
	config, err := a.ok("firewall-config")
	if err != nil {
		return err
	}
	firewall, err := parseRuleset([]byte(ruleset))
	if err != nil {
		return err
	}
	firewall.BootUnits = append([]string{}, strings.Fields(boot)...)
	for line := range strings.Lines(config) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "flushes":
			firewall.FlushesRuleset = true
		case word == "error" && firewall.ConfigError == "":
			firewall.ConfigError = rest
		}
	}
	s.Firewall = firewall
	return nil
}

// The parts of "nft -j list ruleset" that are read; see libnftables-json(5).
type (
	nftObject struct {
		Chain *nftChain `json:"chain"`
		Rule  *nftRule  `json:"rule"`
		Set   *nftSet   `json:"set"`
	}
	nftChain struct {
		Family, Table, Name, Hook, Policy string
		Prio                              *int
	}
	nftRule struct {
		Family, Table, Chain string
		Expr                 []map[string]json.RawMessage
	}
	nftSet struct {
		Family, Table, Name string
		Elem                []json.RawMessage
	}
	nftMatch struct {
		Op          string
		Left, Right json.RawMessage
	}
)

// parseRuleset keeps the base chains of a ruleset and what their rules look
// at. The rules of a chain that is jumped to follow the jump.
func parseRuleset(data []byte) (*verify.Firewall, error) {
	var document struct {
		Nftables []nftObject `json:"nftables"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("read nft's ruleset: %w", err)
	}
	sets := map[string][]string{}
	for _, o := range document.Nftables {
		if o.Set != nil {
			var elements []string
			for _, e := range o.Set.Elem {
				elements = append(elements, nftValues(e)...)
			}
			sets[o.Set.Family+" "+o.Set.Table+" @"+o.Set.Name] = elements
		}
	}
	rules := map[string][]nftRule{}
	for _, o := range document.Nftables {
		if r := o.Rule; r != nil {
			chain := r.Family + " " + r.Table + " " + r.Chain
			rules[chain] = append(rules[chain], *r)
		}
	}
	firewall := &verify.Firewall{Chains: []verify.Chain{}}
	for _, o := range document.Nftables {
		c := o.Chain
		if c == nil || c.Hook == "" {
			continue
		}
		chain := verify.Chain{Family: c.Family, Table: c.Table, Name: c.Name, Hook: c.Hook, Policy: c.Policy, Rules: []verify.FirewallRule{}}
		if c.Prio != nil {
			chain.Priority = *c.Prio
		}
		scope := c.Family + " " + c.Table + " "
		lookup := func(name string) []string { return sets[scope+name] }
		var follow func(name string, depth int)
		follow = func(name string, depth int) {
			for _, r := range rules[scope+name] {
				facts, target := nftRuleFacts(r.Expr, lookup)
				if len(chain.Rules) == maxRules {
					return
				}
				chain.Rules = append(chain.Rules, facts)
				if target != "" && depth < maxJumps {
					follow(target, depth+1)
				}
			}
		}
		follow(c.Name, 0)
		firewall.Chains = append(firewall.Chains, chain)
	}
	return firewall, nil
}

// The kernel itself allows 16 jumps (NFT_JUMP_STACK_SIZE); both limits keep a
// hostile ruleset from growing without end.
const (
	maxJumps = 16
	maxRules = 10_000
)

// nftRuleFacts summarises the statements of one rule, and names the chain it
// jumps to, if any.
func nftRuleFacts(statements []map[string]json.RawMessage, set func(name string) []string) (verify.FirewallRule, string) {
	target := ""
	rule := verify.FirewallRule{Ports: []string{}, Sources: []string{}, Interfaces: []string{}, States: []string{}}
	for _, statement := range statements {
		for name, body := range statement {
			switch name {
			case "match":
				var m nftMatch
				if json.Unmarshal(body, &m) == nil {
					nftMatchFacts(&rule, m, set)
				}
			case "accept", "drop", "reject", "queue", "return":
				rule.Verdict = name
			case "jump", "goto":
				rule.Verdict = name
				var to struct{ Target string }
				if json.Unmarshal(body, &to) == nil {
					target = to.Target
				}
			case "limit", "meter":
				rule.Limited = true
			case "set": // "add @set { … limit … }" and friends: a per-source meter
				rule.Limited = rule.Limited || strings.Contains(string(body), `"limit"`)
			}
		}
	}
	return rule, target
}

// nftMatchFacts notes what one match looks at.
func nftMatchFacts(rule *verify.FirewallRule, m nftMatch, set func(name string) []string) {
	var left struct {
		Payload struct{ Protocol, Field string }
		Meta    struct{ Key string }
		CT      struct{ Key string } `json:"ct"`
		Fib     struct{ Result string }
	}
	if json.Unmarshal(m.Left, &left) != nil {
		return
	}
	values := nftValues(m.Right)
	if len(values) == 1 && strings.HasPrefix(values[0], "@") {
		values = set(values[0])
	}
	switch {
	case left.Payload.Field == "dport":
		rule.Protocol = left.Payload.Protocol
		rule.Ports = append(rule.Ports, values...)
		rule.Except = m.Op == "!="
	case left.Payload.Field == "saddr":
		rule.Sources = append(rule.Sources, values...)
	case left.Payload.Field == "type" && strings.HasPrefix(left.Payload.Protocol, "icmp"):
		rule.Protocol = left.Payload.Protocol
	case left.Meta.Key == "l4proto" || left.Payload.Field == "protocol" || left.Payload.Field == "nexthdr":
		rule.Protocol = strings.Join(values, ",")
	case left.Meta.Key == "iifname" || left.Meta.Key == "iif":
		rule.Interfaces = append(rule.Interfaces, values...)
	case left.CT.Key == "state":
		rule.States = append(rule.States, values...)
	case left.Fib.Result == "type":
		rule.ToLocal = slices.Contains(values, "local")
	}
}

// nftValues flattens the right side of a match or a set's element to text:
// scalars, sets, ranges ("1-9"), prefixes ("10.0.0.0/8") and elements that
// carry a time-out or a counter.
func nftValues(raw json.RawMessage) []string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []string{text}
	}
	var number int
	if json.Unmarshal(raw, &number) == nil {
		return []string{strconv.Itoa(number)}
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		var all []string
		for _, item := range list {
			all = append(all, nftValues(item)...)
		}
		return all
	}
	var object struct {
		Set    []json.RawMessage
		Range  []json.RawMessage
		Prefix *struct {
			Addr string
			Len  int
		}
		Elem *struct{ Val json.RawMessage }
	}
	if json.Unmarshal(raw, &object) != nil {
		return nil
	}
	switch {
	case object.Set != nil:
		var all []string
		for _, item := range object.Set {
			all = append(all, nftValues(item)...)
		}
		return all
	case len(object.Range) == 2:
		return []string{strings.Join(nftValues(object.Range[0]), "") + "-" + strings.Join(nftValues(object.Range[1]), "")}
	case object.Prefix != nil:
		return []string{object.Prefix.Addr + "/" + strconv.Itoa(object.Prefix.Len)}
	case object.Elem != nil:
		return nftValues(object.Elem.Val)
	}
	return nil
}
