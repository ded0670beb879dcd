package report

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
	"time"

	"holdfast/verify/baseline"
)

//go:embed report.html
var page string

// htmlPage is parsed once; a mistake in it is one of this program.
var htmlPage = template.Must(template.New("report").Funcs(template.FuncMap{
	"plain":   plain,
	"where":   func(f baseline.Finding) string { return plain(where(f)) },
	"because": func(f baseline.Finding) string { return plain(because(f)) },
	"label":   label,
	"join":    func(list []string) string { return plain(strings.Join(list, ", ")) },
	"time":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") },
}).Parse(page))

// HTML writes the report as one page that needs nothing else: no script, no
// font, no image from anywhere.
func HTML(w io.Writer, r Report) error {
	return htmlPage.Execute(w, r)
}
