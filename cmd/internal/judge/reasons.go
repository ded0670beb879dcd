package main

// reason is why something that Lynis says of a Holdfast server stays as it is;
// "" when nobody has given one.
func reason(s Suggestion) string {
	if why, ok := reasons[s.Test+" "+s.Details]; ok {
		return why
	}
	return reasons[s.Test]
}

// reasons are kept by test, or by test and details where a test has several.
var reasons = map[string]string{
	"LYNIS":     "the age of Lynis' own release, as Debian ships it",
	"BOOT-5180": "a lab server boots without a runlevel that Lynis can find",
	"KRNL-5788": "a container has no kernel of its own; a rented server has",
}
