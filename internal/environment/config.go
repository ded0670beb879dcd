package environment

// Config is the content of holdfast.yml. Everything that can be derived or has
// a safe default may be absent; Load fills the defaults in, so a loaded Config
// has no field whose zero value still means "default".
//
// The struct tags are the whole of what a single value must satisfy: Load
// enforces them, and the JSON Schema is generated from them and from the
// comments below, which editors show. `check` takes "required", "format=NAME"
// (see formats.go), "oneof=A|B" and, for numbers, "min=N" and "max=N"; on a list
// or a map it speaks of the elements, "keys=NAME" of a map's keys. `default`
// holds what an absent key means. What
// concerns several values together is in consistency.go.
type Config struct {
	// Environment names the pair of servers, such as "production". It appears
	// in reports, journals and prompts. Lower-case letters, digits and "-".
	Environment string `yaml:"environment" check:"required,format=name"`
	// Servers are the two machines, one a role.
	Servers Servers `yaml:"servers" check:"required"`
	// Access says who may log in, and from where.
	Access Access `yaml:"access" check:"required"`
	// Domains are the public host names the edge proxy serves.
	Domains Domains `yaml:"domains" check:"required"`
	// Stacks declares what runs. A stack that is absent is not deployed.
	Stacks Stacks `yaml:"stacks" check:"required"`
	// Delivery is how images reach the servers: "registry" lets the servers pull
	// them, "ship" sends them over the SSH connection.
	Delivery string `yaml:"delivery,omitempty" check:"oneof=registry|ship" default:"registry"`
	// Releases says how many of them stay on the production server.
	Releases Releases `yaml:"releases,omitempty"`
	// Registry says where the servers pull images from.
	Registry Registry `yaml:"registry,omitempty"`
	// Mail is the SMTP server that auth and Trigger.dev send through.
	Mail *Mail `yaml:"mail,omitempty"`
	// Backups says who can read backups and how long they are kept.
	Backups Backups `yaml:"backups,omitempty"`
	// Gate is the severity from which findings fail a run.
	Gate string `yaml:"gate,omitempty" check:"oneof=critical|high|medium|low" default:"high"`
	// Notify is where failures are told.
	Notify *Notify `yaml:"notify,omitempty"`
	// Hardening tunes what makes the servers hard, or turns parts of it off.
	Hardening Hardening `yaml:"hardening,omitempty"`
}

// Servers holds the pair: one server a role.
type Servers struct {
	// Production runs the stacks.
	Production Server `yaml:"production" check:"required"`
	// Audit watches production from outside, and keeps its backups.
	Audit Server `yaml:"audit" check:"required"`
}

// A Server is how one machine is reached.
type Server struct {
	// Address is a host name, an IPv4 or IPv6 address, or a Host of ~/.ssh/config.
	Address string `yaml:"address" check:"required,format=address"`
	// Port of the SSH server.
	Port int `yaml:"port,omitempty" check:"min=1,max=65535" default:"22"`
	// User is who can log in before the deploy user exists.
	User string `yaml:"user,omitempty" check:"format=user" default:"root"`
	// HostKey is the fingerprint of the server's SSH host key, "SHA256:…", as
	// `ssh-keygen -lf` prints it. When absent, known_hosts decides.
	HostKey string `yaml:"host-key,omitempty" check:"format=fingerprint"`
	// Platform is what the production server's images are locked for.
	Platform string `yaml:"platform,omitempty" check:"oneof=linux/amd64|linux/arm64" default:"linux/amd64"`
	// Private is the server's address on a private network between the two.
	Private string `yaml:"private,omitempty" check:"format=ip"`
	// Identity is the private key file to offer first. "~/" is expanded, other
	// relative paths start at the environment folder. When absent: ~/.ssh/config,
	// the agent and the usual key files. Load turns it into a full path.
	Identity string `yaml:"identity,omitempty" check:"format=text"`
}

// Access says who may log in, and from where.
type Access struct {
	// User is the deploy user that Holdfast creates and logs in as.
	User string `yaml:"user,omitempty" check:"format=user" default:"deploy"`
	// Port is the one sshd is to listen on. When absent it stays on the port it
	// is on. A server that still listens on servers.*.port is moved.
	Port int `yaml:"port,omitempty" check:"min=1,max=65535"`
	// SSHFrom are the networks that SSH is open to, in CIDR notation. When
	// absent, SSH is open to everywhere and rate-limited.
	SSHFrom []string `yaml:"ssh-from,omitempty" check:"format=cidr"`
	// Operators are the SSH public key files of those who may log in, relative
	// to the environment folder.
	Operators []string `yaml:"operators" check:"required,format=path"`
}

// Domains are the public host names the edge proxy serves.
type Domains struct {
	// API is the Supabase gateway's name.
	API string `yaml:"api" check:"required,format=domain"`
	// App is the Next.js app's name.
	App string `yaml:"app" check:"required,format=domain"`
	// Jobs is Trigger.dev's name; needed when that stack is declared.
	Jobs string `yaml:"jobs,omitempty" check:"format=domain"`
}

// Stacks declares what runs. A nil stack is not deployed; Load sets Edge always.
type Stacks struct {
	// Supabase is the database, its API, auth, storage, realtime and functions.
	Supabase *Supabase `yaml:"supabase,omitempty"`
	// Trigger is Trigger.dev, for background jobs.
	Trigger *Trigger `yaml:"trigger,omitempty"`
	// App is the Next.js app.
	App *App `yaml:"app,omitempty"`
	// Edge is the proxy that alone publishes ports 80 and 443. It is there even
	// when it is not declared.
	Edge *Edge `yaml:"edge,omitempty"`
}

// Images overrides single images of a set: service name to reference.
type Images map[string]string

// Supabase declares the Supabase stack.
type Supabase struct {
	// Set is a catalog set of versions that were tested together, such as
	// "supabase-0.8.1-kong".
	Set string `yaml:"set" check:"required,format=set"`
	// Schemas are the database schemas exposed through the API.
	Schemas []string `yaml:"schemas,omitempty" check:"format=schema" default:"public,graphql_public"`
	// RedirectURLs are where auth may redirect to besides the app's own address.
	RedirectURLs []string `yaml:"redirect-urls,omitempty" check:"format=redirect"`
	// SignUp opens self-registration.
	SignUp bool `yaml:"sign-up,omitempty" default:"false"`
	// Images overrides single images of the set: service name to reference.
	Images Images `yaml:"images,omitempty" check:"keys=service,format=image"`
}

// Trigger declares the Trigger.dev stack.
type Trigger struct {
	// Set is a catalog set of versions that were tested together, such as
	// "trigger-4.5.12".
	Set string `yaml:"set" check:"required,format=set"`
	// SignUp are the addresses, or "@domain", that may sign up. When absent,
	// nobody may.
	SignUp []string `yaml:"sign-up,omitempty" check:"format=sign-up"`
	// Images overrides single images of the set: service name to reference.
	Images Images `yaml:"images,omitempty" check:"keys=service,format=image"`
}

// App declares the Next.js app's container.
type App struct {
	// Image is the app's image, with a full version tag or a digest.
	Image string `yaml:"image" check:"required,format=image"`
	// Port is the one the app listens on.
	Port int `yaml:"port,omitempty" check:"min=1,max=65535" default:"3000"`
	// Health is the path that answers 200 when the app is up.
	Health string `yaml:"health,omitempty" check:"format=url-path" default:"/"`
	// Public is plain environment, readable by anyone.
	Public map[string]string `yaml:"public,omitempty" check:"keys=variable,format=plain"`
	// Secrets are the names in secrets.age that the app receives as environment.
	Secrets []string `yaml:"secrets,omitempty" check:"format=secret-name"`
}

// Edge declares the proxy that alone publishes ports 80 and 443.
type Edge struct {
	// Set is a catalog set of versions that were tested together.
	Set string `yaml:"set,omitempty" check:"format=set" default:"edge-1"`
	// TLS is where certificates come from: "acme", or "internal", a private CA
	// for networks without public DNS.
	TLS string `yaml:"tls,omitempty" check:"oneof=acme|internal" default:"acme"`
	// Email is the contact of the ACME account.
	Email string `yaml:"email,omitempty" check:"format=email"`
	// Images overrides single images of the set: service name to reference.
	Images Images `yaml:"images,omitempty" check:"keys=service,format=image"`
}

// Releases says how many of them stay on the production server.
type Releases struct {
	// Keep is how many releases stay, with their images, for `holdfast rollback`.
	// The running one and the one before it are among them always.
	Keep int `yaml:"keep,omitempty" check:"min=2,max=50" default:"5"`
}

// Registry says where the servers pull images from.
type Registry struct {
	// Mirror is a registry through which all images are pulled, such as
	// "mirror.example.com" or "registry.example.com/proxy": caddy:2.11.4 becomes
	// mirror.example.com/docker.io/library/caddy:2.11.4. What it holds itself,
	// such as the app's image, keeps its name.
	Mirror string `yaml:"mirror,omitempty" check:"format=registry"`
}

// Mail is the SMTP server that auth and Trigger.dev send through.
type Mail struct {
	// Host of the SMTP server.
	Host string `yaml:"host" check:"required,format=host"`
	// Port of the SMTP server.
	Port int `yaml:"port,omitempty" check:"min=1,max=65535" default:"587"`
	// User to log in as.
	User string `yaml:"user,omitempty" check:"format=text"`
	// Password is "secret:NAME", where NAME is a name in secrets.age.
	Password string `yaml:"password,omitempty" check:"format=secret"`
	// From is the sender's address.
	From string `yaml:"from" check:"required,format=email"`
}

// Backups says who can read backups and how long they are kept.
type Backups struct {
	// Recipients are the OpenPGP public key files that backups are encrypted to,
	// relative to the environment folder.
	Recipients []string `yaml:"recipients,omitempty" check:"format=path"`
	// Keep is how many backups of each kind stay.
	Keep Keep `yaml:"keep,omitempty"`
}

// Keep is a retention policy: how many sets of each kind stay.
type Keep struct {
	// Daily backups that stay.
	Daily int `yaml:"daily,omitempty" check:"min=1,max=3650" default:"14"`
	// Weekly backups that stay; 0 keeps none.
	Weekly int `yaml:"weekly,omitempty" check:"min=0,max=520" default:"8"`
	// Monthly backups that stay; 0 keeps none.
	Monthly int `yaml:"monthly,omitempty" check:"min=0,max=1200" default:"12"`
}

// Notify is where failures are told.
type Notify struct {
	// Webhook is "secret:NAME", where NAME is a name in secrets.age, or an https
	// address that holds no credential.
	Webhook string `yaml:"webhook,omitempty" check:"required,format=webhook"`
}

// A SecretUse is a place in holdfast.yml that names a secret of secrets.age.
type SecretUse struct {
	Name string // the secret, such as "SMTP_PASSWORD"
	Path string // where it is named, such as "mail.password"
}
