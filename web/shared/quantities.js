/** What a map measures, in the words of the views. */

/** By the name in uncertainty/estimators.py. @type {Record<string, {label: string, says: string}>} */
export const QUANTITIES = {
  denoised_variance: {
    label: "Image change",
    says: "How much the finished image still changes when noise is added and removed again. Bright: unsure.",
  },
  posterior_variance: {
    label: "Possible images",
    says: "How many different images fit what is seen through the noise. Bright: unsure.",
  },
  score_variance: {
    label: "Noise (paper)",
    says: "The paper’s map: how much the predicted noise varies. Bright: sure.",
  },
};
