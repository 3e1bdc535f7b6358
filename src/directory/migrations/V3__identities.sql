-- Who a token names: users by their address in any letter case, teams and organizations by alias.
CREATE INDEX users_by_lower_email ON users (LOWER(user_email));
CREATE INDEX teams_by_alias ON teams (team_alias);
CREATE INDEX organizations_by_alias ON organizations (organization_alias);
