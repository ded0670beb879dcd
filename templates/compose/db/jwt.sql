-- Only the lifetime of tokens. The signing secret is kept out of the database:
-- every role that can run SQL can read a setting of it.
\set jwt_exp `printf %s "$JWT_EXP"`

alter database postgres set "app.settings.jwt_exp" to :'jwt_exp';
