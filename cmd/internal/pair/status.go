package pair

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"holdfast/internal/ui"
)

// A Status is what runs on both servers now.
type Status struct {
	Environment string         `json:"environment"`
	Declared    string         `json:"declared"` // the release that the folder renders to
	Servers     []ServerStatus `json:"servers"`
}

// A ServerStatus is what runs on one server.
type ServerStatus struct {
	Role     string           `json:"role"`
	Address  string           `json:"address"`
	System   string           `json:"system"`
	Kernel   string           `json:"kernel"`
	FreeMiB  map[string]int64 `json:"free_mib"` // mount point → free space
	Changes  int              `json:"changes"`  // that a deploy would make
	Notes    []string         `json:"notes,omitempty"`
	Release  string           `json:"release,omitempty"`  // that runs; production only
	Services []ServiceStatus  `json:"services,omitempty"` // production only
}

// A ServiceStatus is one declared service, or a container that nobody declared.
type ServiceStatus struct {
	Stack   string `json:"stack"`
	Service string `json:"service"`
	Healthy bool   `json:"healthy"`
	State   string `json:"state"` // Docker's sentence, as in "Up 2 minutes (healthy)"; "missing"
	Image   string `json:"image"`
}

// Status observes both servers, in the one batch that a plan needs as well.
func (p *Pair) Status(ctx context.Context) (*Status, error) {
	plan, err := p.Plan(ctx)
	if err != nil {
		return nil, err
	}
	status := &Status{Environment: p.Env.Environment, Declared: p.Release.ID}
	for _, s := range p.Servers() {
		part := plan.of(s.Role)
		now := ServerStatus{Role: s.Role, Address: s.Address(), System: s.Facts.OS.Name, Kernel: s.Facts.Kernel,
			FreeMiB: s.Facts.FreeMiB, Changes: len(part.Changes), Notes: part.Notes}
		if s == p.Production {
			now.Release, now.Services = s.State.Current, p.services()
		}
		status.Servers = append(status.Servers, now)
	}
	return status, nil
}

// services compares the declared services with the containers that were observed.
func (p *Pair) services() []ServiceStatus {
	var list []ServiceStatus
	declared := map[string]bool{}
	for _, project := range p.Release.Projects {
		for _, service := range project.Services {
			declared[project.Name+"/"+service.Name] = true
			found := p.Production.State.Service(project.Name, service.Name)
			if len(found) == 0 {
				list = append(list, ServiceStatus{Stack: project.Name, Service: service.Name, State: "missing", Image: service.Image})
			}
			for _, c := range found {
				list = append(list, ServiceStatus{Stack: project.Name, Service: service.Name, Healthy: c.Healthy(), State: c.Status, Image: c.Image})
			}
		}
	}
	for _, c := range p.Production.State.Containers {
		if !declared[c.Project+"/"+c.Service] {
			list = append(list, ServiceStatus{Stack: c.Project, Service: c.Service, Healthy: c.Healthy(), State: c.Status + ", declared nowhere", Image: c.Image})
		}
	}
	return list
}

// Healthy reports whether every declared service does what it is there for.
func (s *Status) Healthy() bool {
	for _, server := range s.Servers {
		for _, service := range server.Services {
			if !service.Healthy {
				return false
			}
		}
	}
	return true
}

// Print writes the status for people.
func (s *Status) Print(u *ui.UI) {
	var b strings.Builder
	for _, server := range s.Servers {
		fmt.Fprintf(&b, "%s %s\n", u.Style(ui.Bold, server.Role), u.Style(ui.Dim, "("+server.Address+")"))
		fmt.Fprintf(&b, "  %s, kernel %s, %d MiB free on /\n", ui.Plain(server.System), ui.Plain(server.Kernel), server.FreeMiB["/"])
		if server.Changes == 0 {
			b.WriteString("  as declared\n")
		} else {
			fmt.Fprintf(&b, "  %s\n", u.Style(ui.Yellow, fmt.Sprintf("%d to change; `holdfast plan` shows what", server.Changes)))
		}
		for _, note := range server.Notes {
			fmt.Fprintf(&b, "  %s %s\n", u.Style(ui.Yellow, "note:"), ui.Plain(note))
		}
		if server.Release != "" {
			fmt.Fprintf(&b, "  release %s\n", server.Release)
		}
		b.WriteString(server.table(u))
	}
	u.Printf("%s", b.String())
}

// table lists the services, each with a mark.
func (s ServerStatus) table(u *ui.UI) string {
	var b strings.Builder
	columns := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, service := range s.Services {
		mark := "ok  "
		if !service.Healthy {
			mark = "BAD "
		}
		fmt.Fprintf(columns, "  %s\t%s/%s\t%s\t%s\n", mark, service.Stack, ui.Plain(service.Service), ui.Plain(service.State), ui.Plain(shortImage(service.Image)))
	}
	_ = columns.Flush() // a strings.Builder takes everything
	text := strings.ReplaceAll(b.String(), "  BAD ", "  "+u.Style(ui.Red, "BAD "))
	return strings.ReplaceAll(text, "  ok  ", "  "+u.Style(ui.Green, "ok  "))
}

// shortImage cuts the digest of an image reference to what tells two apart.
func shortImage(ref string) string {
	if name, digest, ok := strings.Cut(ref, "@sha256:"); ok && len(digest) > 12 {
		return name + "@" + digest[:12]
	}
	return ref
}
