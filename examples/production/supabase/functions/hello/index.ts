// Greets whoever holds a valid token: the gateway's key alone says only which
// project calls, so the user's token is checked with auth before anything else.
Deno.serve(async (request) => {
  const authorization = request.headers.get("Authorization") ?? "";
  const answer = await fetch(`${Deno.env.get("SUPABASE_URL")}/auth/v1/user`, {
    headers: { Authorization: authorization, apikey: Deno.env.get("SUPABASE_ANON_KEY") ?? "" },
  });
  if (!answer.ok) {
    return Response.json({ error: "sign in first" }, { status: 401 });
  }
  const user = await answer.json();
  return Response.json({ message: `Hello ${user.email}` });
});
