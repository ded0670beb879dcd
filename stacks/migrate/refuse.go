package migrate

import (
	"fmt"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

const (
	copyMessage = "COPY from standard input brings data that no migration can carry"
	copyHint    = "use INSERT, or load the data after the deploy"

	nameless     = "CREATE INDEX CONCURRENTLY without a name can't be resumed when it is interrupted"
	namelessHint = "give the index a name"
)

// refusal says why a statement can't be applied, and what to do; "" when it can.
func refusal(node *pganalyze.Node) (message, hint string) {
	switch s := node.Node.(type) {
	case *pganalyze.Node_TransactionStmt:
		return transaction(s.TransactionStmt.Kind)
	case *pganalyze.Node_CopyStmt:
		if s.CopyStmt.Filename != "" || s.CopyStmt.IsProgram {
			return "", ""
		}
		if s.CopyStmt.IsFrom {
			return copyMessage, copyHint
		}
		return "COPY to standard output has nobody to receive it", "take it out"
	case *pganalyze.Node_DiscardStmt:
		// DISCARD ALL would free the lock that keeps two runs apart.
		return "DISCARD is not allowed: the run depends on its session", "take the line out: each migration starts with the session's own settings"
	case *pganalyze.Node_IndexStmt:
		if s.IndexStmt.Concurrent && s.IndexStmt.Idxname == "" {
			return nameless, namelessHint
		}
	}
	return "", ""
}

// transaction refuses what would end the transaction before the gate is asked.
// Savepoints stay inside it and are fine.
func transaction(kind pganalyze.TransactionStmtKind) (message, hint string) {
	word := ""
	switch kind {
	case pganalyze.TransactionStmtKind_TRANS_STMT_BEGIN, pganalyze.TransactionStmtKind_TRANS_STMT_START:
		word = "BEGIN"
	case pganalyze.TransactionStmtKind_TRANS_STMT_COMMIT:
		word = "COMMIT"
	case pganalyze.TransactionStmtKind_TRANS_STMT_ROLLBACK:
		word = "ROLLBACK"
	case pganalyze.TransactionStmtKind_TRANS_STMT_PREPARE, pganalyze.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED, pganalyze.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		word = "a prepared transaction"
	default:
		return "", ""
	}
	return word + " is not allowed: all pending migrations and the gate are one transaction already", "take the line out"
}

// standsAlone names a statement that PostgreSQL refuses inside a transaction
// block (PreventInTransactionBlock in its source) and that therefore runs alone;
// "" for all others. DISCARD ALL is another one, and is not allowed at all.
func standsAlone(node *pganalyze.Node) string {
	switch s := node.Node.(type) {
	case *pganalyze.Node_IndexStmt:
		if s.IndexStmt.Concurrent {
			return "CREATE INDEX CONCURRENTLY"
		}
	case *pganalyze.Node_DropStmt:
		if s.DropStmt.Concurrent {
			return "DROP INDEX CONCURRENTLY"
		}
	case *pganalyze.Node_ReindexStmt:
		switch s.ReindexStmt.Kind {
		case pganalyze.ReindexObjectType_REINDEX_OBJECT_SCHEMA, pganalyze.ReindexObjectType_REINDEX_OBJECT_SYSTEM, pganalyze.ReindexObjectType_REINDEX_OBJECT_DATABASE:
			return "REINDEX of more than one table"
		}
		if option(s.ReindexStmt.Params, "concurrently") {
			return "REINDEX CONCURRENTLY"
		}
	case *pganalyze.Node_VacuumStmt:
		if s.VacuumStmt.IsVacuumcmd {
			return "VACUUM"
		}
	case *pganalyze.Node_ClusterStmt:
		if s.ClusterStmt.Relation == nil {
			return "CLUSTER of all tables"
		}
	case *pganalyze.Node_AlterTableStmt:
		for _, cmd := range s.AlterTableStmt.Cmds {
			c := cmd.GetAlterTableCmd()
			if c.GetSubtype() == pganalyze.AlterTableType_AT_DetachPartition && c.GetDef().GetPartitionCmd().GetConcurrent() {
				return "DETACH PARTITION CONCURRENTLY"
			}
		}
	case *pganalyze.Node_CreatedbStmt:
		return "CREATE DATABASE"
	case *pganalyze.Node_DropdbStmt:
		return "DROP DATABASE"
	case *pganalyze.Node_CreateTableSpaceStmt:
		return "CREATE TABLESPACE"
	case *pganalyze.Node_DropTableSpaceStmt:
		return "DROP TABLESPACE"
	case *pganalyze.Node_AlterSystemStmt:
		return "ALTER SYSTEM"
	case *pganalyze.Node_DropSubscriptionStmt:
		return "DROP SUBSCRIPTION"
	case *pganalyze.Node_CreateSubscriptionStmt:
		return "CREATE SUBSCRIPTION"
	}
	return ""
}

// option reports whether a boolean option is switched on.
func option(params []*pganalyze.Node, name string) bool {
	for _, p := range params {
		def := p.GetDefElem()
		if !strings.EqualFold(def.GetDefname(), name) {
			continue
		}
		value := "true" // an option without an argument is on
		if arg := def.GetArg(); arg != nil {
			value = constant(arg)
		}
		return value != "false" && value != "off" && value != "0"
	}
	return false
}

// constant returns the text of a simple constant.
func constant(node *pganalyze.Node) string {
	switch n := node.Node.(type) {
	case *pganalyze.Node_String_:
		return n.String_.Sval
	case *pganalyze.Node_Integer:
		return fmt.Sprint(n.Integer.Ival)
	case *pganalyze.Node_Boolean:
		return fmt.Sprint(n.Boolean.Boolval)
	case *pganalyze.Node_AConst:
		switch v := n.AConst.Val.(type) {
		case *pganalyze.A_Const_Sval:
			return v.Sval.Sval
		case *pganalyze.A_Const_Ival:
			return fmt.Sprint(v.Ival.Ival)
		case *pganalyze.A_Const_Boolval:
			return fmt.Sprint(v.Boolval.Boolval)
		}
	}
	return ""
}
