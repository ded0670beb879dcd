ss -H -ltnup
