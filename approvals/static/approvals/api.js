// The API's description as a page, by Swagger UI. What is tried out here with a session carries its CSRF token.

const main = document.getElementById("api");

SwaggerUIBundle({
  url: main.dataset.schema,
  dom_id: "#api",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    const own = new URL(request.url, location.href).origin === location.origin;
    if (own && main.dataset.csrfToken) request.headers["X-CSRFToken"] = main.dataset.csrfToken;
    return request;
  },
});
