# Asked of the kernel itself: a missing module is an answer, not an error.
cat /sys/module/apparmor/parameters/enabled 2>/dev/null || echo N
cat /sys/kernel/security/apparmor/profiles 2>/dev/null
exit 0
