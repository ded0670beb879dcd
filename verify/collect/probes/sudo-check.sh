visudo -c 2>&1
