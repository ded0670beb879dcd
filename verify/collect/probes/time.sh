timedatectl show -p NTPSynchronized --value
