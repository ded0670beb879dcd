package secrets

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func file(t *testing.T) *File {
	t.Helper()
	f := &File{}
	f.Put(generated(t), now)
	f.Put(Set{"STRIPE_SECRET_KEY": "sk_live_1"}, now)
	return f
}

func TestRenewMakesWhatIsDerivedAnewAndNothingElse(t *testing.T) {
	f := file(t)
	later := now.Add(time.Hour)
	for name, want := range map[string][]string{
		"JWT_SECRET":               {"ANON_KEY", "JWT_SECRET", "SERVICE_ROLE_KEY"},
		"POSTGRES_PASSWORD":        {"POSTGRES_PASSWORD"},
		"ANON_KEY":                 {"ANON_KEY"},
		"SUPABASE_PUBLISHABLE_KEY": {"SUPABASE_PUBLISHABLE_KEY"},
	} {
		values, err := f.Renew([]string{name}, later)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, values.Names()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		f.Begin(values, later)
		if problems := Check(f.Wanted(), later); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
		for changed, value := range values {
			if f.Set[changed] == value {
				t.Errorf("%s: %s is as before", name, changed)
			}
		}
		f.TakeBack()
	}
	for name, want := range map[string]string{"STRIPE_SECRET_KEY": "is your own", "NOTHING": `no secret "NOTHING"`} {
		if _, err := f.Renew([]string{name}, later); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRotatingAllLeavesOutNamesAndWhatWouldLoseData(t *testing.T) {
	f := file(t)
	names := f.Rotatable()
	for _, r := range Rules() {
		out := r.Name == "POOLER_TENANT_ID" || r.Name == "DASHBOARD_USERNAME" || r.Name == "TRIGGER_ENCRYPTION_KEY"
		if slices.Contains(names, r.Name) == out {
			t.Errorf("%s: left out is not %v", r.Name, out)
		}
	}
}

// A rotation keeps both values until it ends, and its end decides which stay.
func TestARotationEndsWithTheNewValuesOrTheOld(t *testing.T) {
	f := file(t)
	old := maps.Clone(f.Set)
	later := now.Add(time.Hour)
	values, err := f.Renew([]string{"JWT_SECRET"}, later)
	if err != nil {
		t.Fatal(err)
	}
	f.Begin(values, later)
	if !maps.Equal(f.Set, old) || f.Wanted()["JWT_SECRET"] != values["JWT_SECRET"] {
		t.Error("the old values are not in force until the end")
	}
	k := ageKey(t)
	recipients, _ := Recipients([]string{k.recipient})
	path := t.TempDir() + "/secrets.age"
	if err := Save(path, f, recipients); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path, identities(t, "", k.path))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, again); diff != "" {
		t.Error(diff)
	}
	f.TakeBack()
	if !maps.Equal(f.Wanted(), old) {
		t.Error("taken back, but not as before")
	}
	again.Finish(later)
	if again.Rotation != nil || again.Set["JWT_SECRET"] != values["JWT_SECRET"] || !again.Made["JWT_SECRET"].Equal(later) || !again.Made["SECRET_KEY_BASE"].Equal(now) {
		t.Error("finished, but the new values and their age are not there")
	}
}

// An older Holdfast reads names of this form and nothing else.
func TestAnUnfinishedRotationIsNoSecretsName(t *testing.T) {
	if ValidName(rotationKey) {
		t.Error("an older Holdfast would take it for a secret and deploy the old values")
	}
}

func TestFollowMakesKeysAnewOnlyWhenTheyAreNotGiven(t *testing.T) {
	f := file(t)
	secret := strings.Repeat("x", 40)
	followed, err := f.Follow(Set{"JWT_SECRET": secret}, now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ANON_KEY", "JWT_SECRET", "SERVICE_ROLE_KEY"}, followed.Names()); diff != "" {
		t.Error(diff)
	}
	mine := newToken("anon", secret, now.Add(time.Minute))
	followed, err = f.Follow(Set{"JWT_SECRET": secret, "ANON_KEY": mine}, now)
	if err != nil || followed["ANON_KEY"] != mine {
		t.Errorf("the key that was given is not kept (%v)", err)
	}
	if followed, err = f.Follow(Set{"STRIPE_SECRET_KEY": "sk_live_2"}, now); err != nil || len(followed) != 1 {
		t.Errorf("%v, %v", followed.Names(), err)
	}
}

// The API's roles log in nowhere: a password would be one more way in.
func TestNoRoleOfTheAPIEverGetsAPassword(t *testing.T) {
	for _, r := range Rules() {
		for _, s := range r.Rotation.Stored {
			for _, role := range s.Roles {
				if slices.Contains([]string{"anon", "authenticated", "service_role"}, role) {
					t.Errorf("%s sets a password for %s", r.Name, role)
				}
			}
			if (len(s.Roles) > 0) == (s.SQL != "") || (s.SQL != "") != (s.Holder != "") || s.Server == "" || s.Database == "" {
				t.Errorf("%s: %+v is neither passwords nor rows of a service", r.Name, s)
			}
		}
	}
}

// A derived value that stays when its source changes would be refused, or accepted
// for ever.
func TestWhatIsDerivedIsMadeAnewWithItsSource(t *testing.T) {
	reissued := map[string]bool{}
	for _, r := range Rules() {
		for _, derived := range r.Rotation.Reissues {
			reissued[derived] = true
		}
	}
	for _, r := range Rules() {
		if reissued[r.Name] != r.Recipe.Derived() {
			t.Errorf("%s: derived is %v, made anew with another secret is %v", r.Name, r.Recipe.Derived(), reissued[r.Name])
		}
		delete(reissued, r.Name)
	}
	for name, there := range reissued {
		if there {
			t.Errorf("%s is made anew and has no rule", name)
		}
	}
}

func TestPlacesInDatabasesComeOnceAndPasswordsFirst(t *testing.T) {
	places := Placements("supabase", []string{"POSTGRES_PASSWORD", "JWT_SECRET", "VAULT_ENC_KEY", "REALTIME_DB_ENC_KEY", "TRIGGER_POSTGRES_PASSWORD", "AUDITOR_PASSWORD"})
	var got []string
	for _, p := range places {
		got = append(got, p.Secret+" "+p.Holder)
	}
	want := []string{"POSTGRES_PASSWORD ", "POSTGRES_PASSWORD supavisor", "POSTGRES_PASSWORD realtime", "AUDITOR_PASSWORD "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestListTellsAgeAndStrengthAndNoValue(t *testing.T) {
	f := file(t)
	f.Set["DASHBOARD_PASSWORD"] = "my own choice" // by hand: no age follows
	delete(f.Made, "DASHBOARD_PASSWORD")
	delete(f.Set, "VAULT_ENC_KEY")
	list := f.List(map[string][]string{"STRIPE_SECRET_KEY": {"app.secrets[0]"}})
	entry := func(name string) Entry {
		i := slices.IndexFunc(list, func(e Entry) bool { return e.Name == name })
		if i < 0 {
			t.Fatalf("%s is not listed", name)
		}
		return list[i]
	}
	for name, bits := range map[string]int{"POSTGRES_PASSWORD": 128, "JWT_SECRET": 240, "SUPABASE_SECRET_KEY": 132, "POOLER_TENANT_ID": 32} {
		if e := entry(name); e.Bits != bits || e.AtMost || e.Derived || e.Made == nil || !e.Made.Equal(now) {
			t.Errorf("%+v", e)
		}
	}
	if e := entry("ANON_KEY"); !e.Derived || !e.Public || e.Bits != 0 {
		t.Errorf("%+v", e)
	}
	if e := entry("DASHBOARD_PASSWORD"); !e.AtMost || e.Made != nil || e.Bits != 76 {
		t.Errorf("%+v", e)
	}
	if e := entry("VAULT_ENC_KEY"); !e.Missing {
		t.Errorf("%+v", e)
	}
	if e := entry("STRIPE_SECRET_KEY"); e.Stack != "" || !slices.Equal(e.Consumers, []string{"app.secrets[0]"}) {
		t.Errorf("%+v", e)
	}
}

// What upstream publishes is refused wherever it stands (stack-facts 1.3, 3.4).
func TestEveryPublishedValueIsRefused(t *testing.T) {
	demo := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoiYW5vbiIsImlzcyI6InN1cGFiYXNlLWRlbW8iLCJpYXQiOjE2NDE3NjkyMDAsImV4cCI6MTc5OTUzNTYwMH0.dc_X5iR_VP_qT0zsiyj_I_OZ2T9FtRU2BBNWN8Bu4GE"
	values := []string{demo,
		"your-super-secret-and-long-postgres-password", "your-super-secret-jwt-token-with-at-least-32-characters-long",
		"super-secret-jwt-token-with-at-least-32-characters-long", "this_password_is_insecure_and_should_be_updated",
		"UpNVntn3cDxHJpq99YMc1T1AQgQpc8kfYTuRgBiYa15BLrx8etQoXz3gZv1/u2oq", "your-32-character-encryption-key",
		"your-encryption-key-32-chars-min", "your-super-secret-and-long-logflare-key", "your-super-secret-and-long-logflare-key-public",
		"your-super-secret-and-long-logflare-key-private", "625729a08b95bf1b7ff351a663f3a23c",
		"850181e4652dd023b7a98c58ae0d2d34bd487ee0cc3254aed6eda37307425907", "supabaserealtime", "your-tenant-id", "fake_mail_password",
		"managed-secret", "2818143646516f6fffd707b36f334bbb", "44da78b7bbb0dfe709cf38931d25dcdd", "f686147ab967943ebbe9ed3b496e465a",
		"447c29678f9eaf289e9c4b70d3dd8a7f", "ae13021afef0819c3a307ad487071c06", "provider-secret", "coordinator-secret",
		"very-secure-indeed", "very-safe-password"}
	for _, value := range values {
		if PublishedIn("https://user:"+value+"@example.com") == "" {
			t.Errorf("%s is not found inside an address", value)
		}
	}
	for _, value := range append(values, "secret1234", "SAMPLE_KEY", "secret", "password", "postgres") {
		if Published(value) == "" {
			t.Errorf("%s is not refused", value)
		}
		if problems := Check(Set{"MINE": value}, now); len(problems) == 0 || strings.Contains(problems[0].String(), value+"\"") {
			t.Errorf("%s as a secret: %v", value, problems)
		}
	}
	for _, text := range []string{"postgres", "https://example.com/password", "production"} {
		if where := PublishedIn(text); where != "" {
			t.Errorf("%q is said to be published in %s", text, where)
		}
	}
}
