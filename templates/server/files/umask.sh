# Written by Holdfast: what people create is not for everyone to read.
umask 027
