# {{ name|comment }} signs people in with Portal.
gitlab_rails['omniauth_allow_single_sign_on'] = ['openid_connect']
# New people wait until an administrator approves them; false lets them in at once.
gitlab_rails['omniauth_block_auto_created_users'] = true
gitlab_rails['omniauth_providers'] = [
  {
    name: 'openid_connect', # do not change this name: the callback depends on it
    label: 'Portal',
    args: {
      name: 'openid_connect',
      issuer: {{ issuer }},
      discovery: true,
      response_type: 'code',
      scope: {{ scopes }},
      client_auth_method: 'basic',
      uid_field: 'sub',
      send_scope_to_token_endpoint: false,
      pkce: true,
      client_options: {
        identifier: {{ client_id }},
        secret: {{ secret }},
        redirect_uri: {{ redirect_uri }}
      }
    }
  }
]
