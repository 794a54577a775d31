// {{ name|comment }} signs people in with Portal.
import express from 'express'
import session from 'express-session'
import * as client from 'openid-client'

const redirect_uri = {{ redirect_uri }}
const config = await client.discovery(
  new URL({{ issuer }}), {{ client_id }},
{% if confidential %}
  { client_secret: process.env.CLIENT_SECRET, id_token_signed_response_alg: {{ alg }} },
  undefined,
{% else %}
  { id_token_signed_response_alg: {{ alg }} },
  client.None(),
{% endif %}
{% if insecure %}
  { execute: [client.allowInsecureRequests] }, // only because this Portal is not on https
{% endif %}
)
const app = express()
app.use(session({ secret: crypto.randomUUID(), resave: false, saveUninitialized: true }))

app.get({{ login }}, async (request, response) => {
  const code_verifier = request.session.verifier = client.randomPKCECodeVerifier()
  const state = request.session.state = client.randomState()
  response.redirect(client.buildAuthorizationUrl(config, {
    redirect_uri, state, scope: {{ scope }}, code_challenge_method: 'S256',
    code_challenge: await client.calculatePKCECodeChallenge(code_verifier),
  }).href)
})

app.get({{ path }}, async (request, response) => {
  const tokens = await client.authorizationCodeGrant(
    config, new URL(request.originalUrl, redirect_uri),
    { pkceCodeVerifier: request.session.verifier, expectedState: request.session.state })
  const { sub } = tokens.claims()
  response.json(await client.fetchUserInfo(config, tokens.access_token, sub))
})

app.listen({{ port }})
