# Written by Holdfast: a core dump holds the keys and passwords of its process.
ulimit -c 0
