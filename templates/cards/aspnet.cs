// {{ name|comment }} signs people in with Portal.
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Authentication.OpenIdConnect;

var builder = WebApplication.CreateBuilder(args);
var portal = builder.Configuration.GetSection("Portal");
builder.Services
    .AddAuthentication(options =>
    {
        options.DefaultScheme = CookieAuthenticationDefaults.AuthenticationScheme;
        options.DefaultChallengeScheme = OpenIdConnectDefaults.AuthenticationScheme;
    })
    .AddCookie()
    .AddOpenIdConnect(options =>
    {
        options.Authority = portal["Authority"];
        options.ClientId = portal["ClientId"];
{% if confidential %}
        options.ClientSecret = portal["ClientSecret"]; // from user-secrets or the environment
{% endif %}
        options.CallbackPath = portal["CallbackPath"];
        options.ResponseType = "code";
        options.UsePkce = true;
        options.Scope.Clear();
        foreach (var scope in portal.GetSection("Scopes").Get<string[]>()!) options.Scope.Add(scope);
        options.GetClaimsFromUserInfoEndpoint = true;
        options.MapInboundClaims = false;
        options.TokenValidationParameters.NameClaimType = "name";
{% if insecure %}
        options.RequireHttpsMetadata = false; // only because this Portal is not on https
{% endif %}
    });
builder.Services.AddAuthorization();

var app = builder.Build();
app.UseAuthentication();
app.UseAuthorization();
app.MapGet("/", (HttpContext context) => $"Hello {context.User.Identity?.Name}").RequireAuthorization();
app.Run();
