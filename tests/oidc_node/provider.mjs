// An OpenID provider with the people of the tests.  Whoever `login_hint` names is signed in without being asked anything.
//
//   PROVIDER='{"port": 4000, "client_id": …, "client_secret": …, "redirect_uri": …, "accounts": {"alice": {"email": …}}, "amr": ["pwd"], "key": {…}}'
//
// It says `ready` when it serves.  What it remembers ends with it.

import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const wish = JSON.parse(process.env.PROVIDER);

const provider = new Provider(`http://127.0.0.1:${wish.port}`, {
  clients: [{
    client_id: wish.client_id,
    client_secret: wish.client_secret,
    redirect_uris: [wish.redirect_uri],
    grant_types: ["authorization_code"],
    response_types: ["code"],
  }],
  claims: { openid: ["sub", "amr"], email: ["email", "email_verified"], profile: ["name"] },
  cookies: { keys: [randomBytes(16).toString("hex")] },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, sub) => wish.accounts[sub] && { accountId: sub, claims: () => ({ sub, ...wish.accounts[sub] }) },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  jwks: { keys: [wish.key] },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid email profile");
    await grant.save();
    return grant;
  },
});
const answer = provider.callback();

createServer(async (req, res) => {
  if (!req.url.startsWith("/interaction/")) return answer(req, res);
  const { params } = await provider.interactionDetails(req, res);
  const login = wish.accounts[params.login_hint] && { accountId: params.login_hint, amr: wish.amr };
  const outcome = login ? { login } : { error: "access_denied", error_description: "nobody of this name" };
  return provider.interactionFinished(req, res, outcome, { mergeWithLastSubmission: false });
}).listen(wish.port, "127.0.0.1", () => process.stdout.write("ready\n"));
