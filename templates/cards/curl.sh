# {{ name|comment }} gets its tokens from Portal.
{% if confidential %}
CLIENT_SECRET={{ secret }}
{% endif %}
{% if acts_for_itself or (confidential and not is_device) %}

# For itself; no person signs in.
curl {{ issuer ~ "/oauth/token" }} \
  -u {{ client_id }}:"$CLIENT_SECRET" \
{% if own_scope %}
  --data-urlencode {{ "scope=" ~ own_scope }} \
{% endif %}
  -d grant_type=client_credentials
{% endif %}
{% if is_device or not confidential %}

# A device: show the person user_code and verification_uri of the answer, and ask with its
# device_code every 5 seconds until they have decided.
curl {{ issuer ~ "/oauth/device_authorization" }} \
{% if confidential %}
  -u {{ client_id }}:"$CLIENT_SECRET" \
{% else %}
  -d {{ "client_id=" ~ client_id }} \
{% endif %}
  --data-urlencode {{ "scope=" ~ scope }}

curl {{ issuer ~ "/oauth/token" }} \
{% if confidential %}
  -u {{ client_id }}:"$CLIENT_SECRET" \
{% else %}
  -d {{ "client_id=" ~ client_id }} \
{% endif %}
  -d device_code="$DEVICE_CODE" \
  -d grant_type=urn:ietf:params:oauth:grant-type:device_code
{% endif %}
