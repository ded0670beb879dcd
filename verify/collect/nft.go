package collect

import (
	"encoding/json"
	"errors"
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
	if document.Nftables == nil { // even an empty ruleset has its metainfo
		return nil, errors.New("nft printed no ruleset")
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
		var follow func(name string, under verify.FirewallRule, depth int)
		follow = func(name string, under verify.FirewallRule, depth int) {
			for _, r := range rules[scope+name] {
				for _, b := range nftRuleFacts(r.Expr, lookup) {
					if len(chain.Rules) == maxRules {
						return
					}
					facts := inherit(under, b.rule)
					chain.Rules = append(chain.Rules, facts)
					if b.target != "" && depth < maxJumps {
						follow(b.target, facts, depth+1)
					}
				}
			}
		}
		follow(c.Name, verify.FirewallRule{}, 0)
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

// inherit gives a rule what the jump to its chain looked at, where it does not
// look itself.
func inherit(jump, rule verify.FirewallRule) verify.FirewallRule {
	if rule.Protocol == "" {
		rule.Protocol = jump.Protocol
	}
	if len(rule.Ports) == 0 {
		rule.Ports, rule.Except = append(rule.Ports, jump.Ports...), jump.Except
	}
	if len(rule.Sources) == 0 {
		rule.Sources = append(rule.Sources, jump.Sources...)
	}
	if len(rule.Interfaces) == 0 {
		rule.Interfaces = append(rule.Interfaces, jump.Interfaces...)
	}
	if len(rule.States) == 0 {
		rule.States = append(rule.States, jump.States...)
	}
	rule.ToLocal = rule.ToLocal || jump.ToLocal
	rule.Limited = rule.Limited || jump.Limited
	rule.Partial = rule.Partial || jump.Partial
	return rule
}

// A branch is one outcome of a rule: a rule with a verdict map has several.
type branch struct {
	rule   verify.FirewallRule
	target string // the chain it jumps to, if any
}

// nftRuleFacts summarises the statements of one rule.
func nftRuleFacts(statements []map[string]json.RawMessage, set func(name string) []string) []branch {
	rule := verify.FirewallRule{Ports: []string{}, Sources: []string{}, Interfaces: []string{}, States: []string{}}
	target := ""
	var branches []branch
	for _, statement := range statements {
		for name, body := range statement {
			switch name {
			case "match":
				var m nftMatch
				if json.Unmarshal(body, &m) != nil || !nftMatchFacts(&rule, m, set) {
					rule.Partial = true
				}
			case "vmap":
				branches = nftVerdictMap(rule, body, set)
			case "limit", "meter":
				rule.Limited = true
			case "xt": // an iptables match or target that nft only carries
				rule.Partial = true
			case "set": // "add @set { … limit … }" and friends: a per-source meter
				rule.Limited = rule.Limited || strings.Contains(string(body), `"limit"`)
			default:
				if verdict, to, ok := nftVerdict(name, body); ok {
					rule.Verdict, target = verdict, to
				}
			}
		}
	}
	if branches != nil {
		return branches
	}
	return []branch{{rule, target}}
}

// nftVerdict reads a verdict statement and the chain it leads to.
func nftVerdict(name string, body json.RawMessage) (verdict, target string, ok bool) {
	switch name {
	case "accept", "drop", "reject", "queue", "return":
		return name, "", true
	case "jump", "goto":
		var to struct{ Target string }
		_ = json.Unmarshal(body, &to) // an odd jump is still shown as one
		return name, to.Target, true
	}
	return "", "", false
}

// nftVerdictMap makes a branch of each entry of "KEY vmap { VALUE : VERDICT }".
func nftVerdictMap(rule verify.FirewallRule, body json.RawMessage, set func(name string) []string) []branch {
	var vmap struct {
		Key  json.RawMessage
		Data struct{ Set [][]json.RawMessage }
	}
	rule.Partial = true
	if json.Unmarshal(body, &vmap) != nil || len(vmap.Data.Set) == 0 {
		return []branch{{rule: rule}} // such as a named map
	}
	var branches []branch
	for _, entry := range vmap.Data.Set {
		if len(entry) != 2 {
			continue
		}
		b := branch{rule: rule}
		b.rule.Ports, b.rule.Sources = slices.Clone(rule.Ports), slices.Clone(rule.Sources)
		b.rule.Interfaces, b.rule.States = slices.Clone(rule.Interfaces), slices.Clone(rule.States)
		b.rule.Partial = !nftMatchFacts(&b.rule, nftMatch{Op: "==", Left: vmap.Key, Right: entry[0]}, set)
		var verdict map[string]json.RawMessage
		if json.Unmarshal(entry[1], &verdict) == nil {
			for name, detail := range verdict {
				b.rule.Verdict, b.target, _ = nftVerdict(name, detail)
			}
		}
		branches = append(branches, b)
	}
	return branches
}

// nftMatchFacts notes what one match looks at, and reports whether it could.
func nftMatchFacts(rule *verify.FirewallRule, m nftMatch, set func(name string) []string) bool {
	var left struct {
		Payload struct{ Protocol, Field string }
		Meta    struct{ Key string }
		CT      struct{ Key string } `json:"ct"`
		Fib     struct{ Result string }
	}
	if json.Unmarshal(m.Left, &left) != nil {
		return false
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
	default:
		return false
	}
	return true
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
