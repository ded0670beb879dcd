package environment

import (
	"fmt"
	"strings"
)

// inconsistencies notes what each value alone can't show. A value that was
// wrong by itself is zero here and is left in peace.
func (e *Environment) inconsistencies(d *decoder) {
	wrong := func(path, hint, message string, args ...any) {
		d.errors = append(d.errors, e.ErrorAt(path, fmt.Sprintf(message, args...), hint))
	}
	has := func(path string) bool { _, ok := d.positions[path]; return ok }

	production, audit := e.Servers.Production, e.Servers.Audit
	if production.Address != "" && strings.EqualFold(production.Address, audit.Address) && production.Port == audit.Port {
		wrong("servers.audit.address", "an audit on the server it audits proves nothing", "it is the production server's address too")
	}
	if production.HostKey != "" && production.HostKey == audit.HostKey {
		wrong("servers.audit.host-key", "two servers made from one image need new host keys: `ssh-keygen -A` after removing the old", "it is the production server's host key too")
	}
	if has("servers.production.private") != has("servers.audit.private") {
		path := "servers.audit.private"
		if has(path) {
			path = "servers.production.private"
		}
		wrong(path, "", "it is missing: the private network needs both servers' addresses, or none")
	} else if production.Private != "" && production.Private == audit.Private {
		wrong("servers.audit.private", "", "it is the production server's address too")
	}

	if has("servers.audit.platform") {
		wrong("servers.audit.platform", "leave it out", "the audit server runs no images")
	}
	if e.Delivery == "ship" && e.Registry.Mirror != "" {
		wrong("registry.mirror", "leave one of the two out", "nothing is pulled through it: delivery is ship")
	}

	if e.Access.User == "root" {
		wrong("access.user", "leave it out for \"deploy\"", "root can't be the deploy user: logging in as root is turned off")
	}

	taken := map[string]string{}
	for _, domain := range []struct{ path, name string }{
		{"domains.api", e.Domains.API}, {"domains.app", e.Domains.App}, {"domains.jobs", e.Domains.Jobs},
	} {
		if other := taken[domain.name]; domain.name != "" && other != "" {
			wrong(domain.path, "each needs a name of its own: cookies and certificates keep them apart", "%s has the same name", other)
		}
		taken[domain.name] = domain.path
	}
	if e.Stacks.Trigger != nil && !has("domains.jobs") {
		wrong("domains.jobs", "", "it is missing: the stack trigger is declared and needs a public host name")
	}

	for _, stack := range []struct{ path, prefix, set string }{
		{"stacks.supabase.set", "supabase-", e.supabaseSet()},
		{"stacks.trigger.set", "trigger-", e.triggerSet()},
		{"stacks.edge.set", "edge-", e.Stacks.Edge.Set},
	} {
		if stack.set != "" && !strings.HasPrefix(stack.set, stack.prefix) {
			wrong(stack.path, "", "%s is a set of another stack: the sets of this one start with %q", quote(stack.set), stack.prefix)
		}
	}

	if app := e.Stacks.App; app != nil {
		for i, name := range app.Secrets {
			path := fmt.Sprintf("stacks.app.secrets[%d]", i)
			if strings.HasPrefix(name, "NEXT_PUBLIC_") {
				wrong(path, "put it under `public:`, or give it another name", "%s would be in every browser: Next.js writes NEXT_PUBLIC_ values into its pages", name)
			}
			if _, public := app.Public[name]; public {
				wrong(path, "", "%s is under `public:` too", name)
			}
		}
	}

	if e.Mail != nil && has("mail.user") != has("mail.password") {
		missing, given := "password", "user"
		if has("mail.password") {
			missing, given = "user", "password"
		}
		wrong("mail."+missing, "", "it is missing: mail.%s is set, and one is of no use without the other", given)
	}
	e.inconsistentHardening(wrong)
}

func (e *Environment) supabaseSet() string {
	if e.Stacks.Supabase == nil {
		return ""
	}
	return e.Stacks.Supabase.Set
}

func (e *Environment) triggerSet() string {
	if e.Stacks.Trigger == nil {
		return ""
	}
	return e.Stacks.Trigger.Set
}
