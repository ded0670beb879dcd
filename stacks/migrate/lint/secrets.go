package lint

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
)

// A token is a kind of secret that can be told by its form.
type token struct {
	what   string
	marker string // every one has it; looked for first, because it is fast
	form   *regexp.Regexp
	lead   int // how many bytes before the marker the form may begin
}

// tokens are those that turn up in SQL: API keys in webhook calls, connection
// strings of foreign servers. The forms are those that the vendors document for
// secret scanning.
var tokens = []token{
	{"a JSON web token", "eyJ", regexp.MustCompile(`^eyJ[A-Za-z0-9_-]{8,}\.(eyJ[A-Za-z0-9_-]{8,})\.[A-Za-z0-9_-]{16,}`), 0},
	{"a Supabase secret key", "sb_secret_", regexp.MustCompile(`^sb_secret_[A-Za-z0-9_-]{16,}`), 0},
	{"a Supabase access token", "sbp_", regexp.MustCompile(`^sbp_[a-f0-9]{40}`), 0},
	{"a Stripe key", "sk_live_", regexp.MustCompile(`^sk_live_[A-Za-z0-9]{16,}`), 0},
	{"a Stripe key", "sk_test_", regexp.MustCompile(`^sk_test_[A-Za-z0-9]{16,}`), 0},
	{"a Stripe key", "rk_live_", regexp.MustCompile(`^rk_live_[A-Za-z0-9]{16,}`), 0},
	{"a webhook secret", "whsec_", regexp.MustCompile(`^whsec_[A-Za-z0-9+/=]{16,}`), 0},
	{"an AWS access key", "AKIA", regexp.MustCompile(`^AKIA[A-Z0-9]{16}\b`), 0},
	{"a GitHub token", "ghp_", regexp.MustCompile(`^ghp_[A-Za-z0-9]{36}`), 0},
	{"a GitHub token", "github_pat_", regexp.MustCompile(`^github_pat_[A-Za-z0-9_]{40,}`), 0},
	{"a GitLab token", "glpat-", regexp.MustCompile(`^glpat-[A-Za-z0-9_-]{20}`), 0},
	{"a Slack token", "xox", regexp.MustCompile(`^xox[abprs]-[A-Za-z0-9-]{10,}`), 0},
	{"a Slack webhook", "hooks.slack.com/services/", regexp.MustCompile(`^hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]+`), 0},
	{"a SendGrid key", "SG.", regexp.MustCompile(`^SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`), 0},
	{"a Google API key", "AIza", regexp.MustCompile(`^AIza[A-Za-z0-9_-]{35}`), 0},
	{"an OpenAI key", "sk-proj-", regexp.MustCompile(`^sk-proj-[A-Za-z0-9_-]{20,}`), 0},
	{"an Anthropic key", "sk-ant-", regexp.MustCompile(`^sk-ant-[A-Za-z0-9_-]{20,}`), 0},
	{"a Trigger.dev key", "tr_prod_", regexp.MustCompile(`^tr_prod_[A-Za-z0-9]{16,}`), 0},
	{"a private key", "PRIVATE KEY-----", regexp.MustCompile(`^-----BEGIN [A-Z ]*PRIVATE KEY-----`), 24},
	{"an age identity", "AGE-SECRET-KEY-1", regexp.MustCompile(`^AGE-SECRET-KEY-1[A-Z0-9]{20,}`), 0},
	{"a connection string with its password", "://", regexp.MustCompile(`^(?:postgres(?:ql)?|mysql|redis|amqps?|mongodb(?:\+srv)?)://[^\s:@/'"]+:[^\s@/'"<>$%{}]{3,}@`), 12},
}

// secrets reports what looks like one, anywhere in the file: in comments too,
// which are kept as well as statements are. What was found is never shown.
func (l *linter) secrets() {
	text := l.source.file.SQL
	for _, t := range tokens {
		for from := 0; ; {
			i := strings.Index(text[from:], t.marker)
			if i < 0 {
				break
			}
			at := from + i
			from = at + len(t.marker)
			for lead := range t.lead + 1 {
				start := at - lead
				if start < 0 {
					break
				}
				match := t.form.FindStringSubmatch(text[start:min(len(text), start+8192)])
				if match == nil || t.marker == "eyJ" && !secretClaims(match[1]) {
					continue
				}
				from = max(from, start+len(match[0]))
				l.here = place{file: l.source.index, statement: nearestStatement(l.source, start), offset: start}
				l.report(l.here, "secret.token", t.what+" is in the file, in git and in the migration history of every database",
					"-- change it where it came from, keep it in vault, and read it when it is needed:\nselect decrypted_secret from vault.decrypted_secrets where name = '<name>';")
				break
			}
		}
	}
}

func nearestStatement(s *source, offset int) int { return nearest(s.file, s.statements, offset) }

// secretClaims reports whether a token's payload is worth hiding: the anon key
// is public, and stands in every web page.
func secretClaims(payload string) bool {
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return false
	}
	var claims struct {
		Role string `json:"role"`
	}
	return json.Unmarshal(data, &claims) == nil && claims.Role != "anon"
}
