const axios = require("axios");
const { baseUrl, apiKey, achievementId, body } = require("./given");

const url = `${baseUrl}/open-api/achievements/${achievementId}`;

axios
  .patch(url, body, {
    headers: {
      "Content-Type": "application/json",
      Accept: "application/json",
      Authorization: `Bearer ${apiKey}`,
    },
  })
  .then((response) => {
    console.log("Status:", response.status);
    console.log("Response:", response.data);
  })
  .catch((error) => {
    console.error(
      "Error:",
      error.response ? error.response.data : error.message
    );
  });
