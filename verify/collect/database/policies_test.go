package database

import (
	"encoding/json"
	"testing"

	"holdfast/verify"
)

func TestASubSelectCountsAsOneCallOnlyWithoutRowsOfItsOwn(t *testing.T) {
	for expr, perRow := range map[string]bool{
		"(owner = auth.uid())":                  true,
		"(owner = ( SELECT auth.uid() AS uid))": false,
		"((( SELECT auth.jwt() AS jwt) ->> ')'::text) = ( SELECT (auth.uid())::text))":      false,
		"(EXISTS ( SELECT 1\n   FROM public.m\n  WHERE (m.u = auth.uid())))":                true,
		"(EXISTS ( SELECT 1\n   FROM public.m\n  WHERE (m.u = ( SELECT auth.uid() AS u))))": false,
		"(name = 'auth.uid() is text'::text)":                                               true, // a false alarm, of low severity
		"true":                                                                              false,
	} {
		p := verify.Policy{Using: expr, Command: "all"}
		if judge(&p, nil); p.PerRow != perRow {
			t.Errorf("%s: %v", expr, p.PerRow)
		}
	}
}

// FuzzJudge feeds policies that no PostgreSQL printed: nothing may hang or panic.
func FuzzJudge(f *testing.F) {
	f.Add("(owner = ( SELECT auth.uid() AS uid))", "(status = 'a''b)'::text)", "owner")
	f.Add("((1 = 1) OR ( SELECT ( SELECT", "((true))", "a(b")
	f.Fuzz(func(t *testing.T, using, check, column string) {
		table := verify.Table{Schema: "s", Name: "t", Columns: []verify.Column{{Name: column}}}
		p := verify.Policy{Schema: "s", Table: "t", Command: "all", Using: using, Check: check, Roles: []string{"public"}}
		judge(&p, &table)
		if using == "" && p.UsingTrue {
			t.Error("an absent expression is taken for true")
		}
	})
}

// FuzzPlan feeds plans that no EXPLAIN printed: an answer is one of the known
// words, or an error.
func FuzzPlan(f *testing.F) {
	f.Add(`[{"Plan": {"Node Type": "ModifyTable", "Plans": [{"Node Type": "Result", "One-Time Filter": "false"}]}}]`)
	f.Add(`[{"Plan": {"Node Type": "Append", "Plans": [{"Filter": "(a = 1)"}, {"Node Type": "Seq Scan"}]}}]`)
	f.Fuzz(func(t *testing.T, plan string) {
		answer, _, _, err := cell{Verb: "select", Plan: json.RawMessage(plan)}.read()
		if err == nil && order(answer) < 1 {
			t.Errorf("%s: %q", plan, answer)
		}
	})
}
