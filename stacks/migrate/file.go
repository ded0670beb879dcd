// Package migrate brings a Supabase database's schema up to date and lets
// nothing half-done or unchecked be seen.
//
// Folder, file names and history table are the Supabase CLI's, so that both
// tools can be used on one database: supabase/migrations/<version>_<name>.sql
// and supabase_migrations.schema_migrations. Unlike the CLI, Up applies all that
// is pending in one transaction and asks a gate before it commits: a state the
// gate refuses is never visible to anyone, and leaves nothing behind.
//
// Holdfast's own migrations (see Baseline) keep their history apart, in schema
// holdfast.
package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A File is one migration of the project.
type File struct {
	Path    string // as it is shown to people: "supabase/migrations/20260101120000_invoices.sql"
	Version string // the digits its name starts with
	Name    string // what follows them, without ".sql"
	SQL     string
}

// fileName is the pattern of the Supabase CLI (pkg/migration/file.go).
var fileName = regexp.MustCompile(`^([0-9]+)_(.*)\.sql$`)

// oldestInit is the version below which the CLI skips a first "_init" file: it
// was written by early releases and holds the services' own schemas.
const oldestInit = "20211209000000"

// Read returns the migrations in folder dir of fsys in the order they are
// applied in: that of their file names. A folder that does not exist holds none.
// A .sql file whose name the Supabase CLI would skip is an error, because nobody
// would notice that it is never applied; other files are left out. All that is
// wrong with the files is reported together.
func Read(fsys fs.FS, dir string) ([]File, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	var files []File
	var problems []error
	for _, entry := range entries { // sorted by name
		if entry.IsDir() || path.Ext(entry.Name()) != ".sql" {
			continue
		}
		file := File{Path: path.Join(dir, entry.Name())}
		match := fileName.FindStringSubmatch(entry.Name())
		if match == nil {
			problems = append(problems, fmt.Errorf("%s would never be applied: its name must be <digits>_<name>.sql, such as 20260131120000_invoices.sql (rename it, or move it elsewhere)", file.Path))
			continue
		}
		file.Version, file.Name = match[1], match[2]
		if len(files) == 0 && file.Name == "init" && file.Version < oldestInit {
			continue
		}
		// Names that start alike stand together.
		if n := len(files); n > 0 && files[n-1].Version == file.Version {
			problems = append(problems, fmt.Errorf("%s and %s have the same version: give one of them a later one", files[n-1].Path, file.Path))
		}
		if file.SQL, err = file.read(fsys); err != nil {
			problems = append(problems, err)
		}
		files = append(files, file)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return files, nil
}

// read returns the file's text.
func (f File) read(fsys fs.FS) (string, error) {
	content, err := fs.ReadFile(fsys, f.Path)
	if err != nil {
		return "", fmt.Errorf("read migrations: %w", err)
	}
	if i := badText(content); i >= 0 {
		line, column := position(string(content), i)
		return "", fmt.Errorf("%s:%d:%d: %s", f.Path, line, column, foreignText(content, i))
	}
	// A byte order mark is no SQL; some editors on Windows write one.
	return strings.TrimPrefix(string(content), "\ufeff"), nil
}

// foreignText says what a file is that holds, at offset i, what is not UTF-8 text.
func foreignText(content []byte, i int) string {
	const save = "save it as UTF-8"
	switch {
	case bytes.HasPrefix(content, []byte{0xff, 0xfe}), bytes.HasPrefix(content, []byte{0xfe, 0xff}):
		return "the file is UTF-16, as PowerShell's > writes it: " + save
	case content[i] == 0:
		return "a zero byte, which PostgreSQL takes in no text: take it out, or, if the file is UTF-16, " + save
	}
	return fmt.Sprintf("the byte 0x%02x is not UTF-8 text (Windows-1252 or Latin-1?): %s", content[i], save)
}

// badText returns the offset of the first byte that PostgreSQL would not take
// as text, or -1.
func badText(content []byte) int {
	for i := 0; i < len(content); {
		r, size := utf8.DecodeRune(content[i:])
		if r == 0 || r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// position turns a byte offset into a line and a column as editors count them:
// from 1, the column in characters.
func position(text string, offset int) (line, column int) {
	before := text[:min(max(offset, 0), len(text))]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1
}

// runeOffset returns the byte offset of the n-th character, counted from 1 as
// PostgreSQL does in error positions.
func runeOffset(text string, n int) int {
	for i := range text {
		if n--; n <= 0 {
			return i
		}
	}
	return len(text)
}

// sameText reports whether the statements a database has recorded are those of
// a file. The CLI and this package cut files at the same semicolons and trim
// white space and semicolons there, so both are disregarded.
func sameText(recorded []string, sql string) bool {
	squeeze := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == ';' || strings.ContainsRune(" \t\r\n\v\f", r) {
				return -1
			}
			return r
		}, s)
	}
	return squeeze(strings.Join(recorded, "")) == squeeze(sql)
}
