package secrets

import (
	"fmt"
	"slices"
)

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
	// restart when it changes. Empty: no set that ships uses it.
	Consumers []string
	// Identifier: it is a name rather than a secret, and part of what clients are
	// told. It is rotated only when it is named.
	Identifier bool
	// Rotation is what else happens when it changes; empty: the consumers restart
	// and nothing else.
	Rotation Procedure
}

// A Procedure is what rotating a secret takes besides a new value and the restart
// of those that read it.
type Procedure struct {
	// Reissues are the secrets that are derived from it and made anew with it.
	Reissues []string
	// Stored is where databases keep it, or keep what was made with it, in the
	// order in which they are changed: before the consumers restart.
	Stored []Stored
	// Breaks says what stops working outside of the servers, as a clause.
	Breaks string
	// Loses says which data can't be read any more, as a clause. Such a secret is
	// rotated only when it is named.
	Loses string
}

// A Stored is a place inside a stack's database that has to follow a new value.
type Stored struct {
	Stack    string // whose database
	Server   string // the database's service in that stack
	Database string
	// Roles take the value as their password: those of them that exist, may log in
	// and have one. The API's roles (anon, authenticated, service_role) log in
	// nowhere and must never get one.
	Roles []string
	// Holder is the service that owns what SQL removes. It is stopped before, and
	// makes its rows anew when it starts.
	Holder string
	SQL    string
}

// The places in databases.
var (
	supabasePasswords = Stored{Stack: "supabase", Server: "db", Database: "postgres", Roles: []string{
		"supabase_admin", "postgres", "authenticator", "pgbouncer", "supabase_auth_admin", "supabase_storage_admin",
		"supabase_functions_admin", "supabase_replication_admin", "dashboard_user"}}
	auditorPassword = Stored{Stack: "supabase", Server: "db", Database: "postgres", Roles: []string{"holdfast_auditor"}}
	triggerPassword = Stored{Stack: "trigger", Server: "postgres", Database: "main", Roles: []string{"postgres"}}
	// The tenant holds the password, encrypted with VAULT_ENC_KEY, and is made only
	// where there is none. Upstream's db-passwd.sh rebuilds the schema likewise.
	poolerTenant = Stored{Stack: "supabase", Server: "db", Database: "_supabase", Holder: "supavisor",
		SQL: "drop schema if exists _supavisor cascade; create schema _supavisor authorization supabase_admin"}
	// The tenant holds the password and the JWT secret, encrypted with DB_ENC_KEY.
	realtimeTenant = Stored{Stack: "supabase", Server: "db", Database: "postgres", Holder: "realtime",
		SQL: "do $$ begin if to_regclass('_realtime.extensions') is not null then delete from _realtime.extensions; end if; if to_regclass('_realtime.tenants') is not null then delete from _realtime.tenants; end if; end $$"}
)

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

// String says in words how a value is made.
func (r Recipe) String() string {
	prefix := ""
	if r.Prefix != "" {
		prefix = fmt.Sprintf("%q and ", r.Prefix)
	}
	switch r.Form {
	case Token:
		return "an HS256 JSON Web Token of the role " + r.Role + ", signed with JWT_SECRET"
	case Opaque:
		return fmt.Sprintf("%s%d random characters and a checksum", prefix, opaqueRandom)
	}
	return fmt.Sprintf("%s%d random bytes in %s", prefix, r.Bytes, r.Form)
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
		Rotation:  Procedure{Stored: []Stored{supabasePasswords, poolerTenant, realtimeTenant}, Breaks: "whatever logs in to the database with the old password, through the pooler too"}},
	{Name: "JWT_SECRET", Stack: "supabase", Recipe: Recipe{Form: Base64, Bytes: 30}, Min: 32, Charset: Base64Text, Source: generateKeys,
		Consumers: []string{"supabase/rest", "supabase/auth", "supabase/realtime", "supabase/storage", "supabase/functions", "supabase/studio", "supabase/supavisor"},
		Rotation: Procedure{Reissues: []string{"ANON_KEY", "SERVICE_ROLE_KEY"}, Stored: []Stored{realtimeTenant},
			Breaks: "every user's session (everyone signs in again), and clients and servers that carry the old ANON_KEY or SERVICE_ROLE_KEY"}},
	{Name: "ANON_KEY", Stack: "supabase", Public: true, Recipe: Recipe{Form: Token, Role: "anon"}, Charset: TokenText, Source: generateKeys,
		Consumers: []string{"supabase/kong", "supabase/studio", "supabase/storage", "supabase/realtime", "supabase/functions", "app/app"},
		Rotation:  Procedure{Breaks: "clients that carry it: the gateway refuses it (what it signs stays genuine until JWT_SECRET is rotated); an app image with the key built in has to be built again"}},
	{Name: "SERVICE_ROLE_KEY", Stack: "supabase", Recipe: Recipe{Form: Token, Role: "service_role"}, Charset: TokenText, Source: generateKeys,
		Consumers: []string{"supabase/kong", "supabase/studio", "supabase/storage", "supabase/functions"},
		Rotation:  Procedure{Breaks: "servers that carry it: the gateway refuses it (what it signs stays genuine until JWT_SECRET is rotated: rotate that when this one leaked)"}},
	{Name: "SECRET_KEY_BASE", Stack: "supabase", Recipe: Recipe{Form: Base64, Bytes: 48}, Min: 64, Charset: Base64Text, Source: generateKeys,
		Consumers: []string{"supabase/realtime", "supabase/supavisor"}},
	{Name: "REALTIME_DB_ENC_KEY", Stack: "supabase", Recipe: Recipe{Form: Hex, Bytes: 8}, Min: 16, Max: 16, Charset: Alphanumeric, Source: generateKeys,
		Consumers: []string{"supabase/realtime"},
		Rotation:  Procedure{Stored: []Stored{realtimeTenant}, Breaks: "realtime connections, for the moment of the restart"}},
	{Name: "VAULT_ENC_KEY", Stack: "supabase", Recipe: hex16, Min: 32, Max: 32, Charset: Alphanumeric, Source: generateKeys,
		Consumers: []string{"supabase/supavisor"},
		Rotation:  Procedure{Stored: []Stored{poolerTenant}, Breaks: "connections through the pooler, for the moment of the restart"}},
	{Name: "PG_META_CRYPTO_KEY", Stack: "supabase", Recipe: Recipe{Form: Base64, Bytes: 24}, Min: 32, Charset: Base64Text, Source: generateKeys,
		Consumers: []string{"supabase/studio", "supabase/meta"}},
	{Name: "S3_PROTOCOL_ACCESS_KEY_ID", Stack: "supabase", Recipe: hex16, Min: 16, Charset: Alphanumeric, Source: generateKeys,
		Consumers: []string{"supabase/storage"}, Rotation: Procedure{Breaks: "S3 clients that carry the old pair"}},
	{Name: "S3_PROTOCOL_ACCESS_KEY_SECRET", Stack: "supabase", Recipe: hex32, Min: 32, Charset: Alphanumeric, Source: generateKeys,
		Consumers: []string{"supabase/storage"}, Rotation: Procedure{Breaks: "S3 clients that carry the old pair"}},
	// Studio's login at the gateway. Nothing reads the two as long as Studio has no
	// route there and is reached through SSH alone.
	// A name of its own, so that guessing the password needs guessing the name first.
	{Name: "DASHBOARD_USERNAME", Stack: "supabase", Public: true, Identifier: true, Recipe: Recipe{Form: Hex, Prefix: "studio", Bytes: 4}, Min: 4, Charset: Alphanumeric, Source: supabaseDocs},
	{Name: "DASHBOARD_PASSWORD", Stack: "supabase", Recipe: hex16, Min: 16, Charset: Alphanumeric, Source: generateKeys},
	{Name: "SUPABASE_PUBLISHABLE_KEY", Stack: "supabase", Public: true, Recipe: Recipe{Form: Opaque, Prefix: "sb_publishable_"}, Charset: TokenText, Source: rotateKeys,
		Consumers: []string{"supabase/kong", "supabase/studio", "supabase/functions", "app/app"}, Rotation: Procedure{Breaks: "clients that carry it: the gateway refuses it; sessions stay; an app image with the key built in has to be built again"}},
	{Name: "SUPABASE_SECRET_KEY", Stack: "supabase", Recipe: Recipe{Form: Opaque, Prefix: "sb_secret_"}, Charset: TokenText, Source: rotateKeys,
		Consumers: []string{"supabase/kong", "supabase/studio", "supabase/functions"}, Rotation: Procedure{Breaks: "servers that carry it: the gateway refuses it; sessions stay"}},
	// Not a secret, but part of a database user's name, so it must never change by itself.
	{Name: "POOLER_TENANT_ID", Stack: "supabase", Public: true, Identifier: true, Recipe: Recipe{Form: Hex, Prefix: "tenant", Bytes: 4}, Min: 4, Charset: Alphanumeric, Source: supabaseDocs,
		Consumers: []string{"supabase/supavisor"}, Rotation: Procedure{Stored: []Stored{poolerTenant}, Breaks: "clients of the pooler: they log in as ROLE.TENANT and need the new name"}},

	{Name: "TRIGGER_SESSION_SECRET", Stack: "trigger", Recipe: hex16, Min: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp"}, Rotation: Procedure{Breaks: "every session of Trigger.dev's dashboard"}},
	{Name: "TRIGGER_MAGIC_LINK_SECRET", Stack: "trigger", Recipe: hex16, Min: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp"}, Rotation: Procedure{Breaks: "sign-in links that were sent and not used"}},
	{Name: "TRIGGER_ENCRYPTION_KEY", Stack: "trigger", Recipe: hex16, Min: 32, Max: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp"}, Rotation: Procedure{Loses: "the environment variables and secrets stored in Trigger.dev, which are encrypted with it: note them first, and enter them again"}},
	{Name: "TRIGGER_PROVIDER_SECRET", Stack: "trigger", Recipe: hex16, Min: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp"}},
	{Name: "TRIGGER_COORDINATOR_SECRET", Stack: "trigger", Recipe: hex16, Min: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp"}},
	{Name: "TRIGGER_MANAGED_WORKER_SECRET", Stack: "trigger", Recipe: hex16, Min: 32, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/webapp", "trigger/supervisor"}},
	{Name: "TRIGGER_POSTGRES_PASSWORD", Stack: "trigger", Recipe: hex16, Min: 16, Charset: Alphanumeric, Source: triggerEnv,
		Consumers: []string{"trigger/postgres", "trigger/webapp", "trigger/electric"},
		Rotation:  Procedure{Stored: []Stored{triggerPassword}}},
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
		Consumers: []string{"trigger/registry", "trigger/supervisor"}, Rotation: Procedure{Breaks: "`trigger deploy` from machines that logged in to the registry before: `docker login` again"}},

	{Name: "AUDITOR_PASSWORD", Stack: "holdfast", Recipe: hex32, Min: 32, Charset: Alphanumeric, Source: own,
		Consumers: []string{"holdfast/audit"}, Rotation: Procedure{Stored: []Stored{auditorPassword}}},
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
