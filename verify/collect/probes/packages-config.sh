apt-config dump
