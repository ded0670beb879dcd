package provision

import "io/fs"

type Removed struct {
	About
	Names []string
}
type Directive struct{ Key, Value string }
type Directives struct {
	About
	Path, Separator string
	Values          []Directive
	Check, Expect   string
	Actions         []string
}
type Permissions struct {
	About
	Path         string
	Mode         fs.FileMode
	Owner, Group string
}
type Mount struct {
	About
	Where, What, Type string
	Options           []string
}
type Swap struct {
	About
	Path string
	MiB  int
}

func (Removed) observe(*wanted)                      {}
func (Directives) observe(*wanted)                   {}
func (Permissions) observe(*wanted)                  {}
func (Mount) observe(*wanted)                        {}
func (Swap) observe(*wanted)                         {}
func (r Removed) ID() string                         { return "removed:" + r.Concern }
func (r Directives) ID() string                      { return "directives:" + r.Path }
func (r Permissions) ID() string                     { return "permissions:" + r.Path }
func (r Mount) ID() string                           { return "mount:" + r.Where }
func (r Swap) ID() string                            { return "swap:" + r.Path }
func (Removed) Change(Facts) (c Change, ok bool)     { return }
func (Directives) Change(Facts) (c Change, ok bool)  { return }
func (Permissions) Change(Facts) (c Change, ok bool) { return }
func (Mount) Change(Facts) (c Change, ok bool)       { return }
func (Swap) Change(Facts) (c Change, ok bool)        { return }
