package migrate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// read reads one file and returns it, or what is wrong with it.
func read(name, content string) (File, error) {
	files, err := Read(fstest.MapFS{"m/" + name: {Data: []byte(content)}}, "m")
	if err != nil || len(files) != 1 {
		return File{}, err
	}
	return files[0], nil
}

func TestWhatIsNoTextIsRefusedWithItsPlaceAndWhatItIs(t *testing.T) {
	for content, says := range map[string]string{
		"select 1;\n-- caf\xe9":                        "m/1_a.sql:2:7: the byte 0xe9 is not UTF-8 text (Windows-1252 or Latin-1?): save it as UTF-8",
		"select 'a\x00b'":                              "m/1_a.sql:1:10: a zero byte",
		"\xff\xfes\x00e\x00l\x00":                      "m/1_a.sql:1:1: the file is UTF-16",
		"\xfe\xff\x00s\x00e":                           "m/1_a.sql:1:1: the file is UTF-16",
		"-- \u00fc\n-- \xe2\x82":                       "m/1_a.sql:2:4: the byte 0xe2",
		"-- surrogates are no characters \xed\xa0\x80": "m/1_a.sql:1:33: the byte 0xed",
	} {
		if _, err := read("1_a.sql", content); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestAByteOrderMarkAndWindowsLineEndsAreNoMatter(t *testing.T) {
	f, err := read("1_a.sql", "\ufeff-- Ä\r\ncreate table a (\r\n  b text -- c\r\n);\r\n\r\n  creat table b ();\r\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.parse()
	var e *Error
	if !errors.As(err, &e) || e.Line != 6 || e.Column != 3 || e.Message != `syntax error at or near "creat"` {
		t.Errorf("%v", err)
	}
	f.SQL = strings.Replace(f.SQL, "creat ", "create ", 1)
	statements, err := f.parse()
	if err != nil || len(statements) != 2 || statements[1].sql != "create table b ()" {
		t.Fatalf("%v, %v", statements, err)
	}
	if !sameText(f.record(statements), f.SQL) {
		t.Error("the history would hold another text")
	}
}

func TestAllThatIsWrongWithAFolderIsSaidTogether(t *testing.T) {
	fsys := fstest.MapFS{}
	for name, content := range map[string]string{
		"20260101000000_a.sql": "", "20260101000000_b.sql": "", "v2_c.sql": "", "2026-01-01_d.sql": "", "20260102000000-e.sql": "",
		"_f.sql": "", ".sql": "", "20260103000000_g.sql": "\xff", "20260104000000_fine.sql": "select 1", "README.md": "\x00", "20260105000000_no.SQL": "",
	} {
		fsys["m/"+name] = &fstest.MapFile{Data: []byte(content)}
	}
	_, err := Read(fsys, "m")
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, says := range []string{"m/20260101000000_a.sql and m/20260101000000_b.sql have the same version", "m/v2_c.sql would never", "m/2026-01-01_d.sql would never",
		"m/20260102000000-e.sql would never", "m/_f.sql would never", "m/.sql would never", "m/20260103000000_g.sql:1:1"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("not said: %s", says)
		}
	}
	if len(lines) != 7 {
		t.Errorf("%d lines:\n%v", len(lines), err)
	}
}

func TestFiveThousandFilesAreReadInOrder(t *testing.T) {
	fsys := fstest.MapFS{}
	for i := range 5000 {
		fsys[fmt.Sprintf("m/%d_f.sql", 20260101000000+i*7)] = &fstest.MapFile{Data: []byte("select 1;")}
	}
	files, err := Read(fsys, "m")
	if err != nil || len(files) != 5000 {
		t.Fatal(len(files), err)
	}
	for i := 1; i < len(files); i++ {
		if files[i-1].Version >= files[i].Version {
			t.Fatalf("%s comes before %s", files[i-1].Path, files[i].Path)
		}
	}
}

// A file of 50 MB would take PostgreSQL's grammar half a minute and 5 GB.
func TestAFileThatIsTooLargeIsRefusedAtOnce(t *testing.T) {
	f, err := read("1_data.sql", strings.Repeat("insert into t values (1, 'xxxxxxxxxxxxxxxxxxxxxx');\n", 1<<20))
	if err != nil {
		t.Fatal(err) // one that was applied long ago is nobody's trouble
	}
	_, err = f.parse()
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Error(), "the file has 52 MB, and a migration may have 16") || e.Hint == "" {
		t.Errorf("%v", err)
	}
	if _, err := TableOrigins([]File{f}); err != nil {
		t.Errorf("its place in the folder: %v", err)
	}
}
