const { baseUrl, apiKey, achievementId, body } = require("./given");

const url = `${baseUrl}/open-api/achievements/${achievementId}`;

fetch(url, {
  method: "PATCH",
  headers: {
    "Content-Type": "application/json",
    Accept: "application/json",
    Authorization: `Bearer ${apiKey}`,
  },
  body: JSON.stringify(body),
})
  .then((response) => {
    console.log("Status:", response.status);
    return response.text();
  })
  .then((data) => {
    console.log("Response:", data);
  })
  .catch((error) => console.error("Error:", error));
