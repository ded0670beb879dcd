package stacks

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// functions adds the environment's edge functions to the release, beside the
// dispatcher. Hidden files stay behind: supabase/functions/.env is where the
// Supabase CLI keeps secrets for local work. So does a deno.lock in the root,
// which the runtime would hold against every function.
func (r *rendering) functions() error {
	if r.in.Functions == nil {
		return nil
	}
	err := fs.WalkDir(r.in.Functions, ".", func(name string, entry fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case name == ".":
			return nil
		case strings.HasPrefix(base, "."), base == "node_modules":
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case name == "main":
			return errors.New("supabase/functions/main has the name of the dispatcher that serves all functions: rename it")
		case entry.IsDir(), name == "deno.lock":
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("supabase/functions/%s is neither a file nor a folder", name)
		}
		content, err := fs.ReadFile(r.in.Functions, name)
		if err != nil {
			return err
		}
		r.add("supabase/functions/"+name, content)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
