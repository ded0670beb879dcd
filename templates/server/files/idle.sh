# Written by Holdfast: a shell that someone walked away from ends by itself.
TMOUT=@SECONDS@
readonly TMOUT
export TMOUT
