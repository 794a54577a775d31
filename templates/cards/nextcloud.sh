# {{ name|comment }} signs people in with Portal.
CLIENT_SECRET={{ secret }}
sudo -u www-data php occ app:install user_oidc
sudo -u www-data php occ app:enable user_oidc
sudo -u www-data php occ config:system:set user_oidc use_pkce --value=true --type=boolean
sudo -u www-data php occ user_oidc:provider Portal \
  --clientid={{ client_id }} \
  --clientsecret="$CLIENT_SECRET" \
  --discoveryuri={{ discovery }} \
  --scope={{ scope }} \
  --mapping-uid=sub \
  --mapping-display-name=name \
  --mapping-email=email
