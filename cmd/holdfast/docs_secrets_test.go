package main

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/stacks/secrets"
)

// secretsReference is the written procedure of every secret's rotation.
func secretsReference(*testing.T) string {
	var b strings.Builder
	b.WriteString(generated + secretsIntroduction)
	for _, stack := range []string{"supabase", "trigger", "holdfast"} {
		fmt.Fprintf(&b, "\n## %s\n", stack)
		for _, r := range secrets.Rules() {
			if r.Stack != stack {
				continue
			}
			fmt.Fprintf(&b, "\n### %s\n\n", r.Name)
			kind := "secret"
			switch {
			case r.Identifier:
				kind = "a name, not a secret; rotated only when it is named"
			case r.Public:
				kind = "public"
			}
			fmt.Fprintf(&b, "%s. Made as: %s (%s). Read by: %s.\n\n", capital(kind), r.Recipe, r.Source, readers(r))
			n := 0
			step := func(format string, args ...any) {
				n++
				fmt.Fprintf(&b, "%d. %s\n", n, fmt.Sprintf(format, args...))
			}
			if len(r.Rotation.Reissues) > 0 {
				step("Make %s anew, from the new value.", strings.Join(r.Rotation.Reissues, ", "))
			}
			for _, s := range r.Rotation.Stored {
				if len(s.Roles) > 0 {
					step("In the database `%s` of %s/%s, in one transaction, for each of these roles that exists, may log in and has a password: `alter role ROLE password 'VERIFIER'`. Roles: %s. The verifier is computed by Holdfast (SCRAM-SHA-256, RFC 5802); the server never sees the password.",
						s.Database, s.Stack, s.Server, strings.Join(s.Roles, ", "))
				} else {
					step("Stop %s/%s and run, in the database `%s` of %[1]s/%[4]s: `%[5]s`. %[2]s makes it anew when it starts.", s.Stack, s.Holder, s.Database, s.Server, s.SQL)
				}
			}
			step("Restart what reads it, in the order of dependencies, and wait until all is healthy.")
			if r.Rotation.Breaks != "" {
				fmt.Fprintf(&b, "\nEnds %s.\n", r.Rotation.Breaks)
			}
			if r.Rotation.Loses != "" {
				fmt.Fprintf(&b, "\n**Loses %s.** Rotated only when it is named.\n", r.Rotation.Loses)
			}
		}
	}
	return b.String()
}

func readers(r secrets.Rule) string {
	if len(r.Consumers) == 0 {
		return "no service that ships"
	}
	return strings.Join(r.Consumers, ", ")
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

const secretsIntroduction = `# Secrets

All secrets of an environment live in ` + "`secrets.age`" + `, encrypted to the keys in
` + "`secrets.recipients`" + `; the plain ` + "`age`" + ` tool opens it (` + "`age -d -i KEY secrets.age`" + `).
Inside, each line is a name, a value, and, in a comment, when the value was made.

| to | run |
|---|---|
| see names, ages, strengths, consumers | ` + "`holdfast secrets list`" + ` |
| add or change your own | ` + "`holdfast secrets edit`" + `, or ` + "`… --set NAME`" + ` with the value on standard input |
| make one anew and put it in force | ` + "`holdfast secrets rotate NAME`" + `, first with ` + "`--dry-run`" + ` |
| let somebody open them, or no longer | ` + "`holdfast secrets recipients add KEY`" + `, ` + "`remove KEY`" + ` and then ` + "`rotate --all`" + ` |

## How a rotation goes

1. What runs must be what is declared, and healthy; otherwise nothing starts.
2. The new values are written into ` + "`secrets.age`" + ` beside those in force, under
   ` + "`rotation:`" + `. From here on a run that is killed is finished by the next
   ` + "`deploy`" + ` or ` + "`rotate`" + `: every step below may be done twice, and the database is
   asked with the new password first and with the old one after.
3. A release with the new values is uploaded. Before a stack starts, its databases
   follow, as listed below. Whoever logs in with the old password is refused from
   now on until its service has restarted: seconds.
4. The services whose values changed restart, in the order of dependencies, and
   must get healthy.
5. The release becomes the current one, the releases from before are removed from
   the server (they hold the old values), and the new values are in force. Commit
   ` + "`secrets.age`" + `.

When a service does not get healthy, the databases get the old passwords back, the
former release starts, and the new values are forgotten. An older Holdfast refuses a
` + "`secrets.age`" + ` with an unfinished rotation.

Values that can be looked up in upstream's examples are refused before anything is
rendered, in ` + "`secrets.age`" + ` and in ` + "`holdfast.yml`" + `.
`
