cat /opt/holdfast/current/supabase/kong.yml
