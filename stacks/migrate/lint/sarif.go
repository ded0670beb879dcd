package lint

// A SARIF is a result in the format that code hosts show beside the changed
// lines (OASIS SARIF 2.1.0), as far as they read it.
type SARIF struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver sarifDriver `json:"driver"`
	} `json:"tool"`
	ColumnKind string        `json:"columnKind"`
	Results    []sarifResult `json:"results"`
}

type sarifDriver struct {
	Name  string      `json:"name"`
	Rules []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID               string            `json:"id"`
	ShortDescription sarifText         `json:"shortDescription"`
	FullDescription  sarifText         `json:"fullDescription"`
	Properties       map[string]string `json:"properties"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	RuleID       string             `json:"ruleId"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
}

type sarifLocation struct {
	PhysicalLocation struct {
		ArtifactLocation struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
		Region struct {
			StartLine   int `json:"startLine"`
			StartColumn int `json:"startColumn"`
		} `json:"region"`
	} `json:"physicalLocation"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Justification string `json:"justification"`
}

// SARIF returns the findings that count and those accepted in the files, which
// are marked as suppressed.
func (r Result) SARIF() SARIF {
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver.Name = "holdfast migrate lint"
	for _, rule := range rules {
		// GitHub reads a number from 0 to 10 as the severity of a security finding.
		score := map[Severity]string{Critical: "9.5", High: "8.0", Medium: "5.0", Low: "2.0"}[rule.Severity]
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{rule.ID, sarifText{rule.Title}, sarifText{rule.Why},
			map[string]string{"security-severity": score}})
	}
	for _, f := range append(append([]Finding{}, r.Findings...), r.Ignored...) {
		text := f.Message
		if f.Fix != "" {
			text += "\n\n" + f.Fix
		}
		result := sarifResult{RuleID: f.Rule, Message: sarifText{text},
			Level: map[Severity]string{Critical: "error", High: "error", Medium: "warning", Low: "note"}[f.Severity]}
		var at sarifLocation
		at.PhysicalLocation.ArtifactLocation.URI = f.Path
		at.PhysicalLocation.Region.StartLine, at.PhysicalLocation.Region.StartColumn = f.Line, f.Column
		result.Locations = []sarifLocation{at}
		if f.Reason != "" {
			result.Suppressions = []sarifSuppression{{"inSource", f.Reason}}
		}
		run.Results = append(run.Results, result)
	}
	return SARIF{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}
