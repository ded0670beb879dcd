package secrets

import "slices"

// A Rule is how one secret is made and what it must be.
type Rule struct {
	Name string
	// Stack that needs it: "supabase", "trigger", or "holdfast" for Holdfast's own.
	Stack string
	// Public values are handed to browsers or are mere names; everything else
	// must never be printed.
	Public bool
	// Recipe says how it is made.
	Recipe Recipe
	// Min and Max bound its length in bytes; Max 0 is no bound.
	Min, Max int
	// Charset names the bytes it may hold; see charsets.
	Charset Charset
	// Source is where the rule comes from.
	Source string
	// Consumers are the services that read it, as "stack/service": they must
	// restart when it changes.
	Consumers []string
	// Rotation says what else must happen when it changes; empty: nothing but
	// restarting the consumers.
	Rotation string
}

// A Recipe is how a value is made.
type Recipe struct {
	Form Form
	// Bytes of randomness, for Hex and Base64.
	Bytes int
	// Prefix is what the value starts with, for Hex and Opaque.
	Prefix string
	// Role is the claim of a Token.
	Role string
}

// A Form is a kind of value.
type Form string

// The forms. All randomness is the operating system's (crypto/rand).
const (
	Hex    Form = "hex"    // Prefix and Bytes random bytes in lower-case hexadecimal
	Base64 Form = "base64" // Bytes random bytes in standard base64
	Token  Form = "token"  // an API key: a JWT of Role, signed with JWT_SECRET by HS256
	Opaque Form = "opaque" // an API key: Prefix, 22 random characters, "_", 8 characters of checksum
)

// A Charset says which bytes a value may hold.
type Charset string

// The charsets. What is woven into URLs, YAML or sed scripts by upstream may
// hold letters and digits only.
const (
	Alphanumeric Charset = "letters and digits"
	Base64Text   Charset = `letters, digits, "+", "/" and "="`
	TokenText    Charset = `letters, digits, "-", "_" and "."`
)

// The sources.
const (
	generateKeys = "Supabase docker/utils/generate-keys.sh"
	rotateKeys   = "Supabase docker/utils/rotate-new-api-keys.sh"
	supabaseDocs = "Supabase docker/.env.example and self-hosting/docker.mdx"
	triggerEnv   = "Trigger.dev hosting/docker/generate-secrets.sh and .env.example"
	own          = "Holdfast"
)

// The recipes that occur more than once.
var (
	hex16 = Recipe{Form: Hex, Bytes: 16} // 32 characters
	hex32 = Recipe{Form: Hex, Bytes: 32} // 64 characters
)

// rules, in the order in which they are generated: what a value is derived
// from comes before it.
var rules = []Rule{
	{Name: "POSTGRES_PASSWORD", Stack: "supabase", Recipe: hex16, Min: 16, Charset: Alphanumeric, Source: generateKeys,
		Consumers: []string{"supabase/db", "supabase/rest", "supabase/auth", "supabase/realtime", "supabase/storage", "supabase/meta", "supabase/studio", "supabase/functions", "supabase/supavisor"},
		Rotation:  "change the password of the database's roles in the same step: the variable is read on first start only"},
	{Name: "JWT_SECRET", Stack: "supabase", Recipe: Recipe{Form: Base64, Bytes: 30}, Min: 32, Charset: Base64Text, Source: generateKeys,
		Consumers: []string{"supabase/rest", "supabase/auth", "supabase/realtime", "supabase/storage", "supabase/functions", "supabase/studio", "supabase/supavisor", "supabase/db"},
		Rotation:  "make ANON_KEY and SERVICE_ROLE_KEY anew; everyone is signed out"},
	{Name: "ANON_KEY", Stack: "supabase", Public: true, Recipe: Recipe{Form: Token, Role: "anon"}, Charset: TokenText, Source: generateKeys,
		Consumers: []string{"supabase/kong", "supabase/studio", "supabase/storage", "supabase/realtime", "supabase/functions", "app/app"},
		Rotation:  "clients that carry it stop working"},
	{Name: "SERVICE_ROLE_KEY", Stack: "supabase", Recipe: Recipe{Form: Token, Role: "service_role"}, Charset: TokenText, Source: generateKeys,
		Consumers: []string{"supabase/kong", "supabase/studio", "supabase/storage", "supabase/functions"},
		Rotation:  "servers that carry it stop working"},
	{Name: "SECRET_KEY_BASE", Stack: "supabase", Recipe: Recipe{Form: Base64, Bytes: 48}, Min: 64, Charset: Base64Text, Source: generateKeys,
		Consumers: []string{"supabase/realtime", "supabase/supavisor"}},
	{Name: "REALTIME_DB_ENC_KEY", Stack: "supabase", Recipe: Recipe{Form: Hex, Bytes: 8}, Min: 16, Max: 16, Charset: Alphanumeric, Source: generateKeys,
		Consumers: []string{"supabase/realtime"},
		Rotation:  "rows of _realtime.tenants that were encrypted with the old key can't be read with the new one: remove them, Realtime makes them anew"},
	{Name: "VAULT_ENC_KEY", Stack: "supabase", Recipe: hex16, Min: 32, Max: 32, Charset: Alphanumeric, Source: generateKeys,
		Consumers: []string{"supabase/supavisor"},
		Rotation:  "tenants in _supavisor were encrypted with the old key: remove them, Supavisor makes them anew"},
	{Name: "PG_META_CRYPTO_KEY", Stack: "supabase", Recipe: Recipe{Form: Base64, Bytes: 24}, Min: 32, Charset: Base64Text, Source: generateKeys,
		Consumers: []string{"supabase/studio", "supabase/meta"}},
	{Name: "S3_PROTOCOL_ACCESS_KEY_ID", Stack: "supabase", Recipe: hex16, Min: 16, Charset: Alphanumeric, Source: generateKeys,
		Consumers: []string{"supabase/storage"}, Rotation: "S3 clients need the new pair"},
	{Name: "S3_PROTOCOL_ACCESS_KEY_SECRET", Stack: "supabase", Recipe: hex32, Min: 32, Charset: Alphanumeric, Source: generateKeys,
		Consumers: []string{"supabase/storage"}, Rotation: "S3 clients need the new pair"},
	// A name of its own, so that guessing the password needs guessing the name first.
	{Name: "DASHBOARD_USERNAME", Stack: "supabase", Public: true, Recipe: Recipe{Form: Hex, Prefix: "studio", Bytes: 4}, Min: 4, Charset: Alphanumeric, Source: supabaseDocs,
		Consumers: []string{"supabase/kong"}},
	{Name: "DASHBOARD_PASSWORD", Stack: "supabase", Recipe: hex16, Min: 16, Charset: Alphanumeric, Source: generateKeys,
		Consumers: []string{"supabase/kong"}},
	{Name: "SUPABASE_PUBLISHABLE_KEY", Stack: "supabase", Public: true, Recipe: Recipe{Form: Opaque, Prefix: "sb_publishable_"}, Charset: TokenText, Source: rotateKeys,
		Consumers: []string{"supabase/kong", "supabase/studio", "supabase/functions", "app/app"}, Rotation: "clients that carry it stop working"},
	{Name: "SUPABASE_SECRET_KEY", Stack: "supabase", Recipe: Recipe{Form: Opaque, Prefix: "sb_secret_"}, Charset: TokenText, Source: rotateKeys,
		Consumers: []string{"supabase/kong", "supabase/studio", "supabase/functions"}, Rotation: "servers that carry it stop working"},
	// Not a secret, but part of a database user's name, so it must never change by itself.
	{Name: "POOLER_TENANT_ID", Stack: "supabase", Public: true, Recipe: Recipe{Form: Hex, Prefix: "tenant", Bytes: 4}, Min: 4, Charset: Alphanumeric, Source: supabaseDocs,
		Consumers: []string{"supabase/supavisor"}, Rotation: "clients of the pooler log in as ROLE.TENANT and need the new name"},

	{Name: "TRIGGER_SESSION_SECRET", Stack: "trigger", Recipe: hex16, Min: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp"}, Rotation: "everyone is signed out"},
	{Name: "TRIGGER_MAGIC_LINK_SECRET", Stack: "trigger", Recipe: hex16, Min: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp"}, Rotation: "links that were sent and not used stop working"},
	{Name: "TRIGGER_ENCRYPTION_KEY", Stack: "trigger", Recipe: hex16, Min: 32, Max: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp"}, Rotation: "environment variables stored in Trigger.dev can't be read any more: export them first"},
	{Name: "TRIGGER_PROVIDER_SECRET", Stack: "trigger", Recipe: hex16, Min: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp"}},
	{Name: "TRIGGER_COORDINATOR_SECRET", Stack: "trigger", Recipe: hex16, Min: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp"}},
	{Name: "TRIGGER_MANAGED_WORKER_SECRET", Stack: "trigger", Recipe: hex16, Min: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp", "trigger/supervisor"}},
	{Name: "TRIGGER_POSTGRES_PASSWORD", Stack: "trigger", Recipe: hex16, Min: 16, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/postgres", "trigger/webapp", "trigger/electric"},
		Rotation:  "change the role's password in the same step: the variable is read on first start only"},
	// Upstream runs Redis without a password, within reach of the tasks' containers.
	{Name: "TRIGGER_REDIS_PASSWORD", Stack: "trigger", Recipe: hex16, Min: 16, Charset: Alphanumeric, Source: own,
		Consumers: []string{"trigger/redis", "trigger/webapp"}},
	{Name: "TRIGGER_CLICKHOUSE_PASSWORD", Stack: "trigger", Recipe: hex16, Min: 16, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/clickhouse", "trigger/webapp"}},
	{Name: "TRIGGER_OBJECT_STORE_ACCESS_KEY_ID", Stack: "trigger", Recipe: hex16, Min: 3, Charset: Alphanumeric, Source: own,
		Consumers: []string{"trigger/minio", "trigger/webapp"}},
	{Name: "TRIGGER_OBJECT_STORE_SECRET_ACCESS_KEY", Stack: "trigger", Recipe: hex16, Min: 16, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/minio", "trigger/webapp"}},
	{Name: "TRIGGER_REGISTRY_PASSWORD", Stack: "trigger", Recipe: hex16, Min: 16, Max: 72, Charset: Alphanumeric, Source: triggerEnv, // bcrypt reads 72 bytes
		Consumers: []string{"trigger/registry", "trigger/webapp", "trigger/supervisor"}, Rotation: "`docker login` again wherever tasks are deployed from"},

	{Name: "AUDITOR_PASSWORD", Stack: "holdfast", Recipe: hex32, Min: 32, Charset: Alphanumeric, Source: own,
		Consumers: []string{"holdfast/audit"}, Rotation: "change the password of the role holdfast_auditor in the same step"},
}

// Rules returns the rule of every secret that Holdfast makes.
func Rules() []Rule { return slices.Clone(rules) }

func ruleOf(name string) (Rule, bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == name })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}
