df -l -m -x tmpfs -x devtmpfs -x squashfs -x efivarfs --output=fstype,avail,pcent,ipcent,target
