# journal RECORD: appends a JSON object to the journal. Each line carries the
# SHA-256 of the line before it, so that none can be changed or taken out of
# the middle unnoticed.
journal() {
    journal_file=/var/log/holdfast/journal.jsonl
    if [ ! -e "$journal_file" ]; then
        mkdir -p /var/log/holdfast
        chmod 0700 /var/log/holdfast
        (umask 077 && : >"$journal_file")
    fi
    # A line that was cut off by a crash stays a line of its own.
    [ -z "$(tail -c 1 "$journal_file")" ] || echo >>"$journal_file"
    journal_prev=$(tail -n 1 "$journal_file" | sha256sum)
    printf '{"prev":"%s","at":"%s",%s\n' "${journal_prev%% *}" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "${1#?}" >>"$journal_file"
}
