package secrets

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Problem is something wrong with one secret. Its message never holds the value.
type Problem struct {
	Name    string
	Message string // completes the sentence "NAME …"
}

func (p Problem) String() string { return p.Name + " " + p.Message }

var charsets = map[Charset]*regexp.Regexp{
	Alphanumeric: regexp.MustCompile(`^[A-Za-z0-9]*$`),
	Base64Text:   regexp.MustCompile(`^[A-Za-z0-9+/=]*$`),
	TokenText:    regexp.MustCompile(`^[A-Za-z0-9_.-]*$`),
}

// Check returns what is wrong with the secrets that are there, by name: lengths
// and characters that a service can't take, values that anyone can look up in
// upstream's examples, one value under two names, and API keys that are expired
// as of now, of the wrong role, or not signed with JWT_SECRET. What is not there
// is Missing's matter.
func Check(set Set, now time.Time) []Problem {
	var problems []Problem
	first := map[string]string{}
	for _, name := range set.Names() {
		value := set[name]
		if value == "" {
			continue
		}
		wrong := func(message string, args ...any) {
			problems = append(problems, Problem{name, fmt.Sprintf(message, args...)})
		}
		if where := Published(value); where != "" {
			wrong("has a value that is published in %s: anyone can look it up", where)
		}
		rule, known := ruleOf(name)
		other, twice := first[value]
		if !twice {
			first[value] = name
		}
		// What two of the user's own services share is the user's matter.
		if _, otherKnown := ruleOf(other); twice && (known || otherKnown) {
			wrong("has the same value as %s: each needs its own", other)
		}
		if known {
			rule.check(value, set["JWT_SECRET"], now, wrong)
		}
	}
	return problems
}

func (r Rule) check(value, jwtSecret string, now time.Time, wrong func(string, ...any)) {
	switch n := len(value); {
	case r.Min == r.Max && r.Max > 0 && n != r.Max:
		wrong("has %d characters and must have exactly %d", n, r.Max)
	case n < r.Min:
		wrong("has %d characters and needs at least %d", n, r.Min)
	case r.Max > 0 && n > r.Max:
		wrong("has %d characters and may have at most %d", n, r.Max)
	}
	if !charsets[r.Charset].MatchString(value) {
		wrong("may hold %s only: other characters break the addresses and files it is written into", r.Charset)
	}
	switch r.Recipe.Form {
	case Opaque:
		if !validOpaqueKey(value, r.Recipe.Prefix) {
			wrong("is no key of the form %s…: its length or its checksum is wrong", r.Recipe.Prefix)
		}
	case Token:
		claims, genuine, ok := readToken(value, jwtSecret)
		if !ok {
			wrong("is no JSON Web Token")
			return
		}
		if !genuine {
			wrong("is not signed with JWT_SECRET: remove it to have it made anew")
		}
		if claims.Role != r.Recipe.Role {
			wrong("is not for the role %s", r.Recipe.Role)
		}
		if expires := time.Unix(claims.Expires, 0).UTC(); !expires.After(now) {
			wrong("expired on %s: remove it to have it made anew", expires.Format(time.DateOnly))
		}
	}
}

// Published says where a value can be looked up, as in upstream's examples; "" when
// it is none of those.
func Published(value string) string {
	for _, p := range publishedValues {
		if value == p.value {
			return p.where
		}
	}
	for _, p := range publishedPrefixes {
		if strings.HasPrefix(value, p.value) {
			return p.where
		}
	}
	if claims, _, ok := readToken(value, ""); ok && claims.Issuer == "supabase-demo" {
		return supabaseExample
	}
	return ""
}

// PublishedIn says where something that stands in text can be looked up, "" when
// nothing does: a value of the examples, alone or as part of an address or of a
// list, or an API key of theirs. Words that people also use otherwise, such as
// "postgres", are passed over.
func PublishedIn(text string) string {
	for _, p := range slices.Concat(publishedValues, publishedPrefixes) {
		if len(p.value) >= shortestPublished && strings.Contains(text, p.value) {
			return p.where
		}
	}
	for _, token := range tokenInText.FindAllString(text, -1) {
		if where := Published(token); where != "" {
			return where
		}
	}
	return ""
}

// shortestPublished is the length in bytes from which a published value is no
// word that stands somewhere by chance.
const shortestPublished = 12

var tokenInText = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)

const (
	supabaseExample = "Supabase's examples"
	triggerExample  = "Trigger.dev's examples"
	firstGuess      = "everyone's first guesses"
)

type publishedValue struct{ value, where string }

// publishedValues are the values of upstream's .env.example, compose and helm
// files, past ones included. Trigger.dev itself refuses the five that are
// marked unless it is told not to.
var publishedValues = []publishedValue{
	{"your-super-secret-and-long-postgres-password", supabaseExample},
	{"super-secret-jwt-token-with-at-least-32-characters-long", "the Supabase CLI"},
	{"this_password_is_insecure_and_should_be_updated", supabaseExample},
	{"your-32-character-encryption-key", supabaseExample},
	{"your-encryption-key-32-chars-min", supabaseExample},
	{"625729a08b95bf1b7ff351a663f3a23c", supabaseExample},
	{"850181e4652dd023b7a98c58ae0d2d34bd487ee0cc3254aed6eda37307425907", supabaseExample},
	{"secret1234", supabaseExample},
	{"supabaserealtime", supabaseExample},
	{"SAMPLE_KEY", "Supabase Studio"},
	{"your-tenant-id", supabaseExample},
	{"fake_mail_password", supabaseExample},

	{"managed-secret", triggerExample},                   // refused
	{"2818143646516f6fffd707b36f334bbb", triggerExample}, // refused
	{"44da78b7bbb0dfe709cf38931d25dcdd", triggerExample}, // refused
	{"f686147ab967943ebbe9ed3b496e465a", triggerExample}, // refused
	{"447c29678f9eaf289e9c4b70d3dd8a7f", triggerExample}, // refused
	{"ae13021afef0819c3a307ad487071c06", triggerExample},
	{"provider-secret", triggerExample},
	{"coordinator-secret", triggerExample},
	{"very-secure-indeed", triggerExample},
	{"very-safe-password", triggerExample},

	{"secret", firstGuess},
	{"password", firstGuess},
	{"postgres", firstGuess},
	{"supabase", firstGuess},
	{"trigger", firstGuess},
}

var publishedPrefixes = []publishedValue{
	{"UpNVntn3cDxHJpq99YMc1T1AQgQpc8kf", supabaseExample},             // SECRET_KEY_BASE
	{"your-super-secret-and-long-logflare-key", supabaseExample},      // LOGFLARE_API_KEY, and its two successors
	{"your-super-secret-jwt-token-with-at-least-32", supabaseExample}, // JWT_SECRET, past wordings included
}
