// A relying application with openid-client. It talks in lines: prints an address for the person's
// browser, reads where the browser arrived, and prints what it learned as JSON.
import * as readline from "node:readline/promises";
import { createRemoteJWKSet, jwtVerify } from "jose";
import * as client from "openid-client";

const [issuer, clientId, secret, algorithm, redirectUri, after] = process.argv.slice(2);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (question) => {
  console.log(String(question));
  return (await lines.next()).value;
};

const config = await client.discovery(
  new URL(issuer),
  clientId,
  { id_token_signed_response_alg: algorithm },
  secret ? client.ClientSecretPost(secret) : client.None(),
  { execute: [client.allowInsecureRequests] },
);
client.enableNonRepudiationChecks(config);

const verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
const nonce = client.randomNonce();
const address = client.buildAuthorizationUrl(config, {
  redirect_uri: redirectUri,
  scope: "openid profile email",
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  max_age: "900",
  state,
  nonce,
});
const tokens = await client.authorizationCodeGrant(config, new URL(await ask(address)), {
  pkceCodeVerifier: verifier,
  expectedState: state,
  expectedNonce: nonce,
  maxAge: 900,
  idTokenExpected: true,
});
const claims = tokens.claims();
const userinfo = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
const fresh = await client.refreshTokenGrant(config, tokens.refresh_token);
const learned = { claims, userinfo, refreshed: fresh.claims() };
if (secret) {
  learned.active = (await client.tokenIntrospection(config, fresh.access_token)).active;
  const own = await client.clientCredentialsGrant(config, { scope: "reports:read" });
  learned.own = own.scope;
}
await client.tokenRevocation(config, fresh.refresh_token);
learned.afterRevocation = await client
  .fetchUserInfo(config, fresh.access_token, claims.sub)
  .then(() => "still works", (error) => error.cause?.[0]?.parameters?.error ?? error.code);

const bye = client.buildEndSessionUrl(config, {
  id_token_hint: tokens.id_token,
  post_logout_redirect_uri: after,
  state: "done",
});
const logoutToken = await ask(bye);
if (logoutToken) {
  const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
  const checked = await jwtVerify(logoutToken, keys, {
    issuer,
    audience: clientId,
    typ: "logout+jwt",
    algorithms: [algorithm],
    requiredClaims: ["iat", "exp", "jti", "events", "sub", "sid"],
  });
  learned.loggedOut = checked.payload.sid === claims.sid;
}
console.log(JSON.stringify(learned));
process.exit(0);
