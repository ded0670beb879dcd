cat /etc/audit/rules.d/*.rules 2>/dev/null | sed -n 's/^[[:space:]]*-/rule -/p'
systemctl is-active --quiet auditd || exit 0
echo active
auditctl -s | sed -n 's/^\(enabled\|lost\) /\1 /p'
auditctl -l | sed 's/^/loaded /'
