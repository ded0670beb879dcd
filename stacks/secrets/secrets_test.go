package secrets

import (
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func generated(t *testing.T) Set {
	t.Helper()
	set, err := Generate(nil, now)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestEverySecretIsMadeToItsRule(t *testing.T) {
	set := generated(t)
	for _, rule := range Rules() {
		if set[rule.Name] == "" {
			t.Errorf("%s was not made", rule.Name)
		}
		if rule.Source == "" || charsets[rule.Charset] == nil {
			t.Errorf("%s: its rule lacks a source or a charset", rule.Name)
		}
	}
	if problems := Check(set, now); len(problems) > 0 {
		t.Errorf("new secrets have problems: %v", problems)
	}
	if len(set) != len(rules) {
		t.Errorf("%d secrets for %d rules", len(set), len(rules))
	}
}

// TestFormsAreUpstreams compares with what upstream's scripts print, by form.
func TestFormsAreUpstreams(t *testing.T) {
	set := generated(t)
	hex := func(n string) string { return `^[0-9a-f]{` + n + `}$` }
	for name, form := range map[string]string{
		"POSTGRES_PASSWORD":             hex("32"),
		"JWT_SECRET":                    `^[A-Za-z0-9+/]{40}$`,
		"SECRET_KEY_BASE":               `^[A-Za-z0-9+/]{64}$`,
		"REALTIME_DB_ENC_KEY":           hex("16"),
		"VAULT_ENC_KEY":                 hex("32"),
		"PG_META_CRYPTO_KEY":            `^[A-Za-z0-9+/]{32}$`,
		"S3_PROTOCOL_ACCESS_KEY_ID":     hex("32"),
		"S3_PROTOCOL_ACCESS_KEY_SECRET": hex("64"),
		"DASHBOARD_PASSWORD":            hex("32"),
		"SUPABASE_PUBLISHABLE_KEY":      `^sb_publishable_[A-Za-z0-9_-]{22}_[A-Za-z0-9_-]{8}$`,
		"SUPABASE_SECRET_KEY":           `^sb_secret_[A-Za-z0-9_-]{22}_[A-Za-z0-9_-]{8}$`,
		"TRIGGER_ENCRYPTION_KEY":        hex("32"),
		"TRIGGER_SESSION_SECRET":        hex("32"),
	} {
		if !regexp.MustCompile(form).MatchString(set[name]) {
			t.Errorf("%s is not of the form %s", name, form)
		}
	}
	// Made with node by upstream's own lines.
	if got := opaqueChecksum("sb_secret_abcdefghijklmnopqrstuv"); got != "IagNt5Hd" {
		t.Errorf("checksum: %s, upstream's is %s", got, "IagNt5Hd")
	}
}

func TestAPIKeysAreTokensThatOthersAccept(t *testing.T) {
	set := generated(t)
	for name, role := range map[string]string{"ANON_KEY": "anon", "SERVICE_ROLE_KEY": "service_role"} {
		token, err := jwt.Parse(set[name], func(*jwt.Token) (any, error) { return []byte(set["JWT_SECRET"]), nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer("supabase"), jwt.WithIssuedAt(), jwt.WithExpirationRequired(),
			jwt.WithTimeFunc(func() time.Time { return now.Add(time.Hour) }))
		if err != nil {
			t.Fatal(err)
		}
		claims := token.Claims.(jwt.MapClaims)
		if claims["role"] != role || claims["exp"].(float64)-claims["iat"].(float64) != 5*365*86400 {
			t.Errorf("%s: %v", name, claims)
		}
		payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(set[name], ".")[1])
		want := `{"role":"` + role + `","iss":"supabase","iat":1795435200,"exp":1953115200}`
		if string(payload) != want {
			t.Errorf("%s, want %s", payload, want)
		}
	}
}

func TestGenerateFillsOnlyWhatIsMissing(t *testing.T) {
	set := generated(t)
	set["STRIPE_SECRET_KEY"] = "sk_live_1"
	before := maps.Clone(set)
	delete(set, "VAULT_ENC_KEY")
	set["ANON_KEY"] = ""
	kept := maps.Clone(set)

	later, err := Generate(set, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kept, set); diff != "" {
		t.Error("Generate changed what it was given")
	}
	for name, value := range before {
		same := later[name] == value
		if renewed := name == "VAULT_ENC_KEY" || name == "ANON_KEY"; same == renewed {
			t.Errorf("%s: kept: %v", name, same)
		}
	}
	if again, err := Generate(later, now.Add(time.Hour)); err != nil || !maps.Equal(again, later) {
		t.Errorf("a second run changed something (%v)", err)
	}
	if problems := Check(later, now); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestGenerateRefusesKeysWithoutTheSecretThatSignedThem(t *testing.T) {
	set := generated(t)
	delete(set, "JWT_SECRET")
	if _, err := Generate(set, now); err == nil || strings.Contains(err.Error(), set["ANON_KEY"]) {
		t.Errorf("got %v", err)
	}
}

func TestNoTwoSetsShareASecret(t *testing.T) {
	a, b := generated(t), generated(t)
	for name := range a {
		if a[name] == b[name] {
			t.Errorf("%s is the same twice", name)
		}
	}
}

func TestCheckFindsEveryProblemAndRepeatsNoValue(t *testing.T) {
	good := generated(t)
	demo := newToken("anon", "x", now)
	parts := strings.Split(demo, ".")
	demo = parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"supabase-demo","role":"anon","exp":1799535600}`)) + "." + parts[2]
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(good["ANON_KEY"], ".")[1] + "."
	for _, c := range []struct{ name, value, want string }{
		{"REALTIME_DB_ENC_KEY", "0123456789abcdef0", "has 17 characters and must have exactly 16"},
		{"TRIGGER_ENCRYPTION_KEY", strings.Repeat("a1", 32), "has 64 characters and must have exactly 32"},
		{"SECRET_KEY_BASE", strings.Repeat("b", 63), "has 63 characters and needs at least 64"},
		{"TRIGGER_REGISTRY_PASSWORD", strings.Repeat("c", 73), "has 73 characters and may have at most 72"},
		{"POSTGRES_PASSWORD", "p@ss:word/0123456", "may hold letters and digits only"},
		{"POSTGRES_PASSWORD", "abcdefghijklmnop\n", "may hold letters and digits only"},
		{"POSTGRES_PASSWORD", "your-super-secret-and-long-postgres-password", "is published in Supabase's examples"},
		{"POOLER_TENANT_ID", "your-tenant-id", "is published in Supabase's examples"},
		{"SECRET_KEY_BASE", "UpNVntn3cDxHJpq99YMc1T1AQgQpc8kfYTuRgBiYa15BLrx8etQoXz3gZv1/u2oq", "is published in Supabase's examples"},
		{"TRIGGER_MANAGED_WORKER_SECRET", "managed-secret", "is published in Trigger.dev's examples"},
		{"SMTP_PASSWORD", "password", "is published in everyone's first guesses"},
		{"ANON_KEY", demo, "is published in Supabase's examples"},
		{"ANON_KEY", demo, "is not signed with JWT_SECRET"},
		{"ANON_KEY", newToken("anon", "another", now), "is not signed with JWT_SECRET"},
		{"ANON_KEY", unsigned, "is not signed with JWT_SECRET"},
		{"ANON_KEY", good["SERVICE_ROLE_KEY"], "is not for the role anon"},
		{"ANON_KEY", newToken("anon", good["JWT_SECRET"], now.Add(-tokenLife)), "expired on 2026-11-23"},
		{"SERVICE_ROLE_KEY", "hello", "is no JSON Web Token"},
		{"SUPABASE_SECRET_KEY", good["SUPABASE_PUBLISHABLE_KEY"], "is no key of the form sb_secret_"},
		{"SUPABASE_SECRET_KEY", good["SUPABASE_SECRET_KEY"][:len(good["SUPABASE_SECRET_KEY"])-1] + "?", "its checksum is wrong"},
		{"SUPABASE_SECRET_KEY", "sb_secret_" + strings.Repeat("x", 22) + "_xxxxxxxx", "its checksum is wrong"},
		{"VAULT_ENC_KEY", good["TRIGGER_ENCRYPTION_KEY"], "TRIGGER_ENCRYPTION_KEY"},
	} {
		set := maps.Clone(good)
		set[c.name] = c.value
		problems := Check(set, now)
		found := slices.ContainsFunc(problems, func(p Problem) bool {
			return strings.Contains(p.String(), c.want) && (p.Name == c.name || strings.Contains(p.Message, c.name) || c.want == p.Name || strings.Contains(p.Message, "same value"))
		})
		if !found {
			t.Errorf("%s: %q is not among %v", c.name, c.want, problems)
		}
		for _, p := range problems {
			if len(c.value) > 8 && strings.Contains(p.String(), c.value) {
				t.Errorf("%s: the problem repeats the value", c.name)
			}
		}
	}
}

func TestWhatTheUsersOwnSecretsShareIsNoProblem(t *testing.T) {
	if problems := Check(Set{"A": "same-value", "B": "same-value"}, now); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestValuesHoldsAllThatMustNeverBePrinted(t *testing.T) {
	set := generated(t)
	set["STRIPE_SECRET_KEY"] = "sk_live_1"
	set["EMPTY"] = ""
	values := set.Values()
	for name, value := range set {
		public := name == "ANON_KEY" || name == "SUPABASE_PUBLISHABLE_KEY" || name == "DASHBOARD_USERNAME" || name == "POOLER_TENANT_ID" || name == "EMPTY"
		if slices.Contains(values, value) == public {
			t.Errorf("%s: public is %v", name, public)
		}
	}
}

func TestMissingNamesWhatIsNotThereOrEmpty(t *testing.T) {
	got := Set{"A": "1", "B": ""}.Missing("A", "B", "C", "B")
	if diff := cmp.Diff([]string{"B", "C"}, got); diff != "" {
		t.Error(diff)
	}
}
