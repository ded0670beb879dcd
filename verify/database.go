package verify

// Database is what PostgreSQL's catalog, and its planner, say about who can do
// what. Relations and functions of PostgreSQL itself are left out; those of
// Supabase's services are in, marked by their schema's Service field.
//
// "API roles" are anon, authenticated and service_role: what PostgREST becomes
// for a request. Privileges are effective ones: through grants to PUBLIC and
// memberships as well.
type Database struct {
	Version           string             `json:"version"`         // "17.6"
	VersionNumber     int                `json:"version_number"`  // server_version_num: 170006
	ExposedSchemas    []string           `json:"exposed_schemas"` // PGRST_DB_SCHEMAS of the running rest container
	Settings          map[string]string  `json:"settings"`        // see the collector for which ones
	SecretSettings    []string           `json:"secret_settings"` // settings stored for the database or a role whose name says secret: readable by every role
	Schemas           []Schema           `json:"schemas"`
	Tables            []Table            `json:"tables"` // ordinary, partitioned and foreign
	Views             []View             `json:"views"`  // views and materialized views
	Policies          []Policy           `json:"policies"`
	Functions         []Function         `json:"functions"` // of extensions only those that reach outside the database
	Roles             []Role             `json:"roles"`     // without PostgreSQL's own pg_*
	DefaultPrivileges []DefaultPrivilege `json:"default_privileges"`
	Extensions        []Extension        `json:"extensions"`
	Publications      []Publication      `json:"publications"`
	EventTriggers     []EventTrigger     `json:"event_triggers"`
	Triggers          []Trigger          `json:"triggers"`       // on auth.users: they run for everyone who signs up
	Access            []Access           `json:"access"`         // one for each relation in an exposed schema and API role
	AccessChanges     []AccessChange     `json:"access_changes"` // what a migration that is being gated would do to Access; empty otherwise
	Storage           *Storage           `json:"storage"`
	Migrations        *AppliedMigrations `json:"migrations"`
	Auditor           *DatabaseAuditor   `json:"auditor"`
}

// A Schema is one namespace.
type Schema struct {
	Name    string   `json:"name"`
	Owner   string   `json:"owner"`
	Exposed bool     `json:"exposed"` // through the API
	Service bool     `json:"service"` // belongs to one of Supabase's services or to Holdfast, not to the project
	Create  []string `json:"create"`  // of anon, authenticated, public: who may create objects in it
	Usage   []string `json:"usage"`   // of anon, authenticated, public: who may look objects up in it
}

// Grants are the privileges on a relation: SELECT, INSERT, UPDATE, DELETE,
// TRUNCATE, REFERENCES, TRIGGER. One that is granted on some columns counts.
type Grants struct {
	Anon          []string `json:"anon"`
	Authenticated []string `json:"authenticated"`
	ServiceRole   []string `json:"service_role"`
}

// A Table is an ordinary, partitioned or foreign table.
type Table struct {
	Schema          string       `json:"schema"`
	Name            string       `json:"name"`
	Kind            string       `json:"kind"` // "table", "partitioned", "foreign"
	Owner           string       `json:"owner"`
	Extension       string       `json:"extension"` // that it belongs to; empty for none
	Exposed         bool         `json:"exposed"`   // its schema is
	RLSEnabled      bool         `json:"rls_enabled"`
	RLSForced       bool         `json:"rls_forced"` // for the owner too
	Grants          Grants       `json:"grants"`
	Policies        []string     `json:"policies"` // their names
	Columns         []Column     `json:"columns"`
	PrimaryKey      bool         `json:"primary_key"`
	Parent          string       `json:"parent"`           // "schema.name" of the partitioned table it is a partition of
	ParentRLS       bool         `json:"parent_rls"`       // row level security of Parent
	ReplicaIdentity string       `json:"replica_identity"` // "default", "full", "index", "nothing"
	PublishedBy     []string     `json:"published_by"`     // publications
	ForeignKeys     []ForeignKey `json:"foreign_keys"`
}

// A Column is one column of a table.
type Column struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	NotNull bool   `json:"not_null"`
}

// A ForeignKey is one foreign key of a table.
type ForeignKey struct {
	Name          string   `json:"name"`
	Columns       []string `json:"columns"`
	Target        string   `json:"target"`         // "schema.name"
	TargetPrimary bool     `json:"target_primary"` // it refers to the primary key, not to another unique constraint
	OnDelete      string   `json:"on_delete"`      // "no action", "restrict", "cascade", "set null", "set default"
	Indexed       bool     `json:"indexed"`        // an index starts with its columns
}

// A View is a view or a materialized view.
type View struct {
	Schema          string   `json:"schema"`
	Name            string   `json:"name"`
	Kind            string   `json:"kind"` // "view", "materialized"
	Owner           string   `json:"owner"`
	Extension       string   `json:"extension"`
	Exposed         bool     `json:"exposed"`
	SecurityInvoker bool     `json:"security_invoker"`
	Grants          Grants   `json:"grants"`
	Reads           []string `json:"reads"`    // every relation it reaches, through other views too: "schema.name"
	Bypasses        []string `json:"bypasses"` // those with row level security that is not applied, because a view on the way runs as an owner that is exempt
}

// A Policy is one row level security policy.
type Policy struct {
	Schema       string   `json:"schema"`
	Table        string   `json:"table"`
	Name         string   `json:"name"`
	Exposed      bool     `json:"exposed"` // the table's schema is
	Command      string   `json:"command"` // "all", "select", "insert", "update", "delete"
	Roles        []string `json:"roles"`   // "public" is everyone
	Permissive   bool     `json:"permissive"`
	Using        string   `json:"using"`         // empty when there is none
	Check        string   `json:"check"`         // empty when there is none: PostgreSQL then uses Using
	UsingTrue    bool     `json:"using_true"`    // Using is always true: the constant, or a comparison of equal constants
	CheckTrue    bool     `json:"check_true"`    // the same of what is checked on write
	Helpers      []string `json:"helpers"`       // the project's functions it calls: "schema.name"
	UserMetadata bool     `json:"user_metadata"` // it, or a helper, reads what users write into their own token
	AnonymousOK  bool     `json:"anonymous_ok"`  // has "auth.uid() is null" as a way in
	PerRow       bool     `json:"per_row"`       // calls auth.*() or current_setting() for each row, not once in a sub-select
	LostColumns  []string `json:"lost_columns"`  // columns that Using compares and a weaker Check does not
}

// A Function is a function or procedure.
type Function struct {
	Schema          string   `json:"schema"`
	Name            string   `json:"name"`
	Arguments       string   `json:"arguments"` // types, as they identify it: "integer, text"
	Owner           string   `json:"owner"`
	Language        string   `json:"language"`
	Extension       string   `json:"extension"`
	Exposed         bool     `json:"exposed"`
	Service         bool     `json:"service"`
	SecurityDefiner bool     `json:"security_definer"` // runs as its owner
	Trigger         bool     `json:"trigger"`          // returns trigger or event_trigger: can't be called
	SearchPathSet   bool     `json:"search_path_set"`
	SearchPath      []string `json:"search_path"`   // schemas, in order; empty when not set or set to ''
	ExecutableBy    []string `json:"executable_by"` // of anon, authenticated: who may call it, with USAGE on its schema
	Callers         []string `json:"callers"`       // ExecutableBy, with service_role and every other role that requests run as
	Outgoing        bool     `json:"outgoing"`      // of an extension that reaches other machines, files or schedules: dblink, http, pg_net, pg_cron …
}

// A Role is one role.
type Role struct {
	Name             string   `json:"name"`
	Login            bool     `json:"login"`
	Superuser        bool     `json:"superuser"`
	BypassRLS        bool     `json:"bypass_rls"`
	CreateRole       bool     `json:"create_role"`
	CreateDB         bool     `json:"create_db"`
	Replication      bool     `json:"replication"`
	Inherit          bool     `json:"inherit"`
	ConnectionLimit  int      `json:"connection_limit"`  // -1 is unlimited
	StatementTimeout string   `json:"statement_timeout"` // as set for the role; empty when not
	MemberOf         []string `json:"member_of"`         // all roles it can become, through others too
}

// A DefaultPrivilege is what new objects of one kind are granted by themselves.
type DefaultPrivilege struct {
	Owner      string   `json:"owner"`  // whose new objects
	Schema     string   `json:"schema"` // empty: in every schema
	Kind       string   `json:"kind"`   // "tables", "sequences", "functions", "types", "schemas"
	Role       string   `json:"role"`   // who gets it; "public" is everyone
	Privileges []string `json:"privileges"`
	Exposed    bool     `json:"exposed"` // Schema is
}

// An Extension is an installed extension.
type Extension struct {
	Name    string `json:"name"`
	Schema  string `json:"schema"`
	Version string `json:"version"`
	Default string `json:"default"` // the version CREATE EXTENSION would install; empty when not known
}

// A Publication sends changes to Realtime and other subscribers.
type Publication struct {
	Name      string   `json:"name"`
	AllTables bool     `json:"all_tables"`
	Tables    []string `json:"tables"` // "schema.name"
}

// An EventTrigger runs on schema changes.
type EventTrigger struct {
	Name     string `json:"name"`
	Event    string `json:"event"`
	Owner    string `json:"owner"`
	Function string `json:"function"` // "schema.name"
	Enabled  bool   `json:"enabled"`
}

// A Trigger is one on auth.users.
type Trigger struct {
	Name       string `json:"name"`
	Function   string `json:"function"`    // "schema.name"
	TrustsUser bool   `json:"trusts_user"` // it takes something like a role from raw_user_meta_data, which the user writes
}

// Access is what the planner says one API role can do with one relation.
// Each verb is one of
//
//	denied      a privilege is missing
//	nothing     no row can be reached
//	filtered    policies, or the view itself, choose the rows
//	everything  nothing stands between the role and every row
//	error       planning fails, see Error
type Access struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Kind   string `json:"kind"` // "table", "partitioned", "foreign", "view", "materialized"
	Role   string `json:"role"`
	Select string `json:"select"`
	Insert string `json:"insert"`
	Update string `json:"update"`
	Delete string `json:"delete"`
	Filter string `json:"filter"` // of Select, when filtered
	Error  string `json:"error"`  // first failure: "42P17 infinite recursion detected in policy for relation "a""
	// Columns are those that a verb is granted on, for verbs not granted on all.
	Columns map[string][]string `json:"columns"`
}

// An AccessChange is what becomes of one cell of the access matrix.
type AccessChange struct {
	Object       string `json:"object"` // "schema.name", of a function with its argument types
	Kind         string `json:"kind"`   // as in Access, or "function", "definer function"
	Role         string `json:"role"`
	Verb         string `json:"verb"`          // "select", "insert", "update", "delete", "truncate", "execute", "publish", "download"
	Before       string `json:"before"`        // as in Access, or "absent"
	After        string `json:"after"`         // likewise
	FilterBefore string `json:"filter_before"` // the conditions of the policies, when filtered
	FilterAfter  string `json:"filter_after"`
	// Columns that the verb is granted on; empty when on all.
	ColumnsBefore []string `json:"columns_before"`
	ColumnsAfter  []string `json:"columns_after"`
	Widening      bool     `json:"widening"` // more gets through, or may
	Allowed       bool     `json:"allowed"`  // by --allow-widening
}

// Storage is what the Storage service keeps in the database.
type Storage struct {
	Present bool     `json:"present"` // the service has its tables
	Buckets []Bucket `json:"buckets"`
}

// A Bucket is one storage bucket.
type Bucket struct {
	Name      string   `json:"name"`
	Public    bool     `json:"public"`
	SizeLimit int      `json:"size_limit"` // bytes a file; 0 is the service's own limit alone
	MIMETypes []string `json:"mime_types"` // empty: all
}

// AppliedMigrations are the histories the database holds.
type AppliedMigrations struct {
	Versions []string          `json:"versions"` // of supabase_migrations.schema_migrations, sorted
	Baseline map[string]string `json:"baseline"` // of holdfast.migrations: version → checksum
}

// DatabaseAuditor is the role that the audit server logs in as.
type DatabaseAuditor struct {
	Present  bool     `json:"present"`
	Readable []string `json:"readable"` // relations it may read that it needs not: "schema.name"
	Writable []string `json:"writable"` // relations it may change
}
