package provision

// RebootScript returns the script that restarts the server in a second's time.
// It needs root. It waits up to 5 minutes for packages that are being installed,
// and exits 75 when that is not enough and 78 when some are half installed.
func RebootScript() string { return serverScript("apply/reboot.sh") }
