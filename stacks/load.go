package stacks

import (
	"context"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// load reads a Compose file the way Compose does: with its schema, its
// interpolation and its checks for consistency. The operator's environment has
// no part in it, and secret environment files stay unread.
func load(name string, compose []byte) (*types.Project, error) {
	details := types.ConfigDetails{
		WorkingDir:  Root + "/current/" + name,
		ConfigFiles: []types.ConfigFile{{Filename: "compose.yml", Content: compose}},
		Environment: types.Mapping{},
	}
	return loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.SetProjectName(name, true)
		o.SkipResolveEnvironment = true
		o.ResolvePaths = false
	})
}

// describe reduces a loaded project to what starting it needs to know.
func describe(project *types.Project, file string) Project {
	p := Project{Name: project.Name, File: file}
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		update := service.Deploy != nil && service.Deploy.UpdateConfig != nil
		p.Services = append(p.Services, Service{Name: name, Image: service.Image, StartFirst: update && service.Deploy.UpdateConfig.Order == "start-first"})
	}
	for _, network := range project.Networks {
		if network.External {
			p.Networks = append(p.Networks, network.Name)
		}
	}
	slices.Sort(p.Networks)
	return p
}
