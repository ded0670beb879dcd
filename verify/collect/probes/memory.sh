sed -n 's/^\(MemTotal\|SwapTotal\): *\([0-9]*\) kB$/\1=\2/p' /proc/meminfo
