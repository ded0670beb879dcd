package lint

import (
	"slices"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// walk calls visit for a node and all below it; visit returns false to leave out
// what is below.
func walk(node *pganalyze.Node, visit func(*pganalyze.Node) bool) {
	if node == nil {
		return
	}
	each(node.ProtoReflect(), visit)
}

func each(m protoreflect.Message, visit func(*pganalyze.Node) bool) {
	if n, ok := m.Interface().(*pganalyze.Node); ok && !visit(n) {
		return
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Kind() != protoreflect.MessageKind:
		case field.IsList():
			for i := range value.List().Len() {
				each(value.List().Get(i).Message(), visit)
			}
		default:
			each(value.Message(), visit)
		}
		return true
	})
}

// truth is what a condition is whatever the row and the caller: always true,
// always false, or neither.
func truth(node *pganalyze.Node) (value, known bool) {
	switch n := node.GetNode().(type) {
	case *pganalyze.Node_AConst:
		if b, ok := n.AConst.Val.(*pganalyze.A_Const_Boolval); ok {
			return b.Boolval.Boolval, true
		}
	case *pganalyze.Node_TypeCast:
		if parts := texts(n.TypeCast.TypeName.GetNames()); len(parts) > 0 && parts[len(parts)-1] == "bool" {
			switch text, _ := constant(n.TypeCast.Arg); strings.ToLower(text) {
			case "t", "true", "on", "1", "yes":
				return true, true
			case "f", "false", "off", "0", "no":
				return false, true
			}
		}
	case *pganalyze.Node_BoolExpr:
		return junction(n.BoolExpr)
	case *pganalyze.Node_AExpr:
		// x = x holds for every row where x is not null.
		if n.AExpr.Kind == pganalyze.A_Expr_Kind_AEXPR_OP && slices.Equal(texts(n.AExpr.Name), []string{"="}) && alike(n.AExpr.Lexpr, n.AExpr.Rexpr) {
			return true, true
		}
	case *pganalyze.Node_SubLink:
		if s := n.SubLink.Subselect.GetSelectStmt(); n.SubLink.SubLinkType == pganalyze.SubLinkType_EXPR_SUBLINK && len(s.GetFromClause()) == 0 && s.GetWhereClause() == nil && len(s.GetTargetList()) == 1 {
			return truth(s.TargetList[0].GetResTarget().GetVal())
		}
	}
	return false, false
}

func junction(b *pganalyze.BoolExpr) (value, known bool) {
	switch b.Boolop {
	case pganalyze.BoolExprType_NOT_EXPR:
		v, known := truth(b.Args[0])
		return !v, known
	case pganalyze.BoolExprType_OR_EXPR, pganalyze.BoolExprType_AND_EXPR:
		decides := b.Boolop == pganalyze.BoolExprType_OR_EXPR // one true makes OR true, one false makes AND false
		all := true
		for _, arg := range b.Args {
			v, known := truth(arg)
			if known && v == decides {
				return v, true
			}
			all = all && known
		}
		return !decides, all
	}
	return false, false
}

// always reports whether a condition holds for every row and caller.
func always(node *pganalyze.Node) bool {
	value, known := truth(node)
	return value && known
}

// alike reports whether two expressions are the same text but for white space.
// Calls are not: they may return another value each time.
func alike(a, b *pganalyze.Node) bool {
	if a == nil || b == nil {
		return false
	}
	a, b = unplaced(a), unplaced(b)
	if !proto.Equal(a, b) {
		return false
	}
	simple := true
	walk(a, func(n *pganalyze.Node) bool {
		if n.GetFuncCall() != nil || n.GetSubLink() != nil || n.GetAConst().GetIsnull() {
			simple = false
		}
		return simple
	})
	return simple
}

// unplaced is a copy of an expression without the places in the text.
func unplaced(node *pganalyze.Node) *pganalyze.Node {
	node = proto.Clone(node).(*pganalyze.Node)
	var clear func(protoreflect.Message)
	clear = func(m protoreflect.Message) {
		if f := m.Descriptor().Fields().ByName("location"); f != nil {
			m.Clear(f)
		}
		m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
			if field.Kind() == protoreflect.MessageKind {
				if field.IsList() {
					for i := range value.List().Len() {
						clear(value.List().Get(i).Message())
					}
				} else {
					clear(value.Message())
				}
			}
			return true
		})
	}
	clear(node.ProtoReflect())
	return node
}

// aboutCaller reports whether an expression asks who is calling.
func aboutCaller(node *pganalyze.Node) bool {
	found := false
	walk(node, func(n *pganalyze.Node) bool {
		if call := n.GetFuncCall(); call != nil {
			parts := texts(call.Funcname)
			if len(parts) == 2 && parts[0] == "auth" || parts[len(parts)-1] == "current_setting" {
				found = true
			}
		}
		if n.GetSqlvalueFunction() != nil { // current_user and its like
			found = true
		}
		return !found
	})
	return found
}

// noIdentity reports whether a condition holds for who has not signed in:
// auth.uid() is null, alone or beside an OR.
func noIdentity(node *pganalyze.Node) bool {
	switch n := node.GetNode().(type) {
	case *pganalyze.Node_NullTest:
		return n.NullTest.Nulltesttype == pganalyze.NullTestType_IS_NULL && asks(n.NullTest.Arg, "uid")
	case *pganalyze.Node_BoolExpr:
		switch n.BoolExpr.Boolop {
		case pganalyze.BoolExprType_OR_EXPR:
			return slices.ContainsFunc(n.BoolExpr.Args, noIdentity)
		case pganalyze.BoolExprType_AND_EXPR:
			found := false
			for _, arg := range n.BoolExpr.Args {
				nobody := noIdentity(arg)
				if !nobody && !always(arg) {
					return false
				}
				found = found || nobody
			}
			return found
		}
	}
	return false
}

// asks reports whether an expression is a call of auth.<function>, bare or as (select …).
func asks(node *pganalyze.Node, function string) bool {
	switch n := node.GetNode().(type) {
	case *pganalyze.Node_FuncCall:
		return slices.Equal(texts(n.FuncCall.Funcname), []string{"auth", function})
	case *pganalyze.Node_TypeCast:
		return asks(n.TypeCast.Arg, function)
	case *pganalyze.Node_SubLink:
		if s := n.SubLink.Subselect.GetSelectStmt(); s != nil && len(s.TargetList) == 1 && len(s.FromClause) == 0 {
			return asks(s.TargetList[0].GetResTarget().GetVal(), function)
		}
	}
	return false
}

// ownedBy returns the columns that a condition compares with the caller.
func ownedBy(node *pganalyze.Node) []string {
	var columns []string
	walk(node, func(n *pganalyze.Node) bool {
		if n.GetSubLink() != nil {
			return false // its columns are those of other tables
		}
		e := n.GetAExpr()
		if e == nil || !slices.Equal(texts(e.Name), []string{"="}) {
			return true
		}
		for _, side := range [][2]*pganalyze.Node{{e.Lexpr, e.Rexpr}, {e.Rexpr, e.Lexpr}} {
			if c := column(side[0]); c != "" && aboutCaller(side[1]) && !slices.Contains(columns, c) {
				columns = append(columns, c)
			}
		}
		return true
	})
	return columns
}

// column is the name of a column, behind casts as well; "" for anything else.
func column(node *pganalyze.Node) string {
	if cast := node.GetTypeCast(); cast != nil {
		return column(cast.Arg)
	}
	parts := texts(node.GetColumnRef().GetFields())
	if len(parts) == 0 {
		return ""
	}
	return parts[len(parts)-1]
}

// mentions reports whether an expression names a column anywhere.
func mentions(node *pganalyze.Node, wanted string) bool {
	found := false
	walk(node, func(n *pganalyze.Node) bool {
		found = found || n.GetColumnRef() != nil && column(n) == wanted
		return !found
	})
	return found
}

// notNullColumn is the column of a condition that says no more than
// "column is not null"; "" for others.
func notNullColumn(node *pganalyze.Node) string {
	if t := node.GetNullTest(); t != nil && t.Nulltesttype == pganalyze.NullTestType_IS_NOT_NULL {
		return column(t.Arg)
	}
	return ""
}

// trusts returns where an expression names user metadata, or the function it
// calls whose body does: "" for neither.
func (l *linter) trusts(node *pganalyze.Node) string {
	found := ""
	walk(node, func(n *pganalyze.Node) bool {
		if text, ok := constant(n); ok && metadata(text) {
			found = text
		}
		if c := n.GetColumnRef(); c != nil && metadata(column(n)) {
			found = column(n)
		}
		if call := n.GetFuncCall(); call != nil {
			for _, f := range l.schema.called(texts(call.Funcname)) {
				if metadata(f.body) {
					found = f.signature()
				}
			}
		}
		return found == ""
	})
	return found
}

func metadata(text string) bool {
	return strings.Contains(text, "user_metadata") || strings.Contains(text, "raw_user_meta_data")
}

// reads returns the relations a query reads, but for its own WITH names.
func (l *linter) reads(query *pganalyze.Node) []name {
	with := map[string]bool{}
	walk(query, func(n *pganalyze.Node) bool {
		if c := n.GetCommonTableExpr(); c != nil {
			with[c.Ctename] = true
		}
		return true
	})
	var list []name
	walk(query, func(n *pganalyze.Node) bool {
		if r := n.GetRangeVar(); r != nil && (r.Schemaname != "" || !with[r.Relname]) {
			if named := l.relation(r); !slices.Contains(list, named) {
				list = append(list, named)
			}
		}
		return true
	})
	return list
}
