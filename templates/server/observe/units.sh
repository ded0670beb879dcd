# shellcheck disable=SC2086,SC2154 # a list of names
systemctl show --property=Id,LoadState,ActiveState,UnitFileState,ConditionResult,ConditionTimestampMonotonic $units
